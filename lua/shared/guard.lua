-- The fleet guard: its record, and the transitions that its verbs share. It is changed by its verbs
-- alone, not by time: every replica's sweep has it evaluated about twice a second.

local GUARD, POLICIES, EVENTS, HISTORY

local GUARD_TTL_MS = 2 * 86400000

-- The record of a guard that never opened. Only what differs from this is stored.
local CLOSED = {
  state = 'closed',    -- or open (the first rate), half_open (the ramp), forced_open (an operator's)
  cause = '',          -- why it is not closed: failures, operator
  reason = '',         -- what the operator said
  epoch = 0,           -- grows with every change of state or rate
  since_ms = 0,        -- since when it is in this state
  until_ms = 0,        -- forced_open: when the ramp begins; closed by a reset: until then it stays so
  rate_per_s = 0,      -- permits a second now
  tat_ms = 0,          -- GCRA's theoretical arrival time: when the bucket is full again
  step_ms = 0,         -- when the present step of the ramp began
  granted = 0,         -- permits in the present step
  refused = 0,         -- refusals in the present step
  connected = 0,       -- instances connected when the step began
  failing = 0,         -- instances failing then
  reached = 0,         -- instances gained in the step before the last rise of the rate
  calm_ms = 0,         -- since when nobody was refused and few fail
}
local TEXT = { state = true, cause = true, reason = true }

local stored, g -- the record as it was, and as the script changes it
local now, policy, settings
local action -- the transition that this call has made

-- Takes up a call.
local function begin(KEYS, ARGV)
  receive(ARGV)
  GUARD, POLICIES, EVENTS, HISTORY = unpack(KEYS, 1, 4)
  stored = {}
  local flat = redis.call('HGETALL', GUARD)
  for i = 1, #flat, 2 do
    local field = flat[i]
    stored[field] = TEXT[field] and flat[i + 1] or tonumber(flat[i + 1])
  end
  setmetatable(stored, { __index = CLOSED })
  g = setmetatable({}, { __index = stored })
  now = math.max(server_ms(), stored.since_ms, stored.step_ms)
  policy = policy_in_force(POLICIES, '*')
  settings = policy.fleet_guard
  action = nil
  transitions = nil
end

-- The one place where the guard's state is written, by whatever changes it.
local function save()
  local set = {}
  for field in pairs(CLOSED) do
    if g[field] ~= stored[field] then
      set[#set + 1] = field
      set[#set + 1] = g[field]
    end
  end
  if #set == 0 then return end
  redis.call('HSET', GUARD, unpack(set))
  redis.call('PEXPIRE', GUARD, GUARD_TTL_MS)
end

-- A new rate leaves what the bucket has given what it was: so many permits, at their new price.
local function set_rate(rate)
  local ahead_ms = math.max(0, g.tat_ms - now)
  g.tat_ms = rate > 0 and g.rate_per_s > 0 and now + ahead_ms * g.rate_per_s / rate or 0
  g.rate_per_s = rate
end

local function begin_step(connected, failing)
  g.step_ms = now
  g.granted = 0
  g.refused = 0
  g.connected = connected
  g.failing = failing
end

local function change(name, state, rate, origin)
  local before = g.state
  if state ~= before then g.since_ms = now end
  g.state = state
  set_rate(rate)
  g.epoch = math.max(g.epoch + 1, now)
  action = name
  local fields = {
    instance_id = '*', action = name, at_ms = now, before = before, after = state,
    epoch = g.epoch, cause = g.cause,
  }
  if rate > 0 then fields.rate_per_s = rate end
  local entry = audit_entry(fields, origin)
  append_event(EVENTS, entry)
  append_history(HISTORY, entry)
  note({
    instance_id = '*', action = name, before = before, after = state, epoch = g.epoch, cause = g.cause, trace = '',
  })
end

local function close(name, origin)
  change(name, 'closed', 0, origin)
  g.cause = ''
  g.reason = ''
  g.until_ms = 0
  g.reached = 0
  g.calm_ms = 0
  begin_step(0, 0)
end

local function answer()
  return reply({
    was = stored.state,
    action = action,
    guard = {
      state = g.state,
      cause = g.cause,
      reason = g.reason,
      epoch = g.epoch,
      since_ms = g.since_ms,
      until_ms = g.until_ms,
      rate_per_s = g.rate_per_s,
      step_ms = g.step_ms,
      granted = g.granted,
      refused = g.refused,
      connected = g.connected,
      failing = g.failing,
    },
  })
end
