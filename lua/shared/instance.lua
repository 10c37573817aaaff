-- One instance: its record as it was, and what is recorded of it.
-- All of it is of the call at work: `begin` takes up the next one.

local HOUR_MS = 3600000
local DAY_MS = 24 * HOUR_MS
-- A silent instance is forgotten after a day. Its record outlives that by more than the partition's
-- keys live without any writer, so that what it added to the totals can always be taken off again.
local SILENCE_MS = DAY_MS
local INSTANCE_TTL_MS = 4 * DAY_MS
local HELD_TTL_MS = 366 * DAY_MS

-- The record of an instance that was never seen, in two parts. What the instance does, which nearly every call
-- changes:
local FRESH_USE = {
  failures = 0,          -- members of FAILURES
  oldest_ms = 0,         -- the oldest of them
  last_failure_ms = 0,
  attempts = 0,          -- permitted since the last proven connection
  connection_ms = 0,     -- since when
  attempt_until_ms = 0,  -- when a connecting one is given up
  touched_ms = 0,        -- last use; the instance's clock never runs behind it
  registered_ms = 0,     -- when it was last entered in the partition's keys
  due_ms = 0,            -- its score in DUE
  proven = 0,            -- 1: the connection's success was credited
  last_kind = '',
  last_detail = '',
  attempt = '',          -- the last attempt's token
  connection = '',       -- '', connecting, connected
}
-- And what its breaker is, which stays the same for long. Most were never open.
local FRESH_BREAKER = {
  epoch = 0,
  opened_ms = 0,
  until_ms = 0,          -- when the state ends by itself; 0: never
  closed_ms = 0,         -- since when it is healthy
  level = 0,             -- steps that the cooldown has grown
  ban_until_ms = 0,
  suppressed = 0,        -- failures reported while open
  seen_until_ms = 0,     -- until when SEEN must be asked
  state = 'closed',
  cause = '',            -- why it is open
  reason = '',           -- what the operator said
  terminal = '',         -- the kind that only a person can lift
  trace = '',            -- whose request made it what it is (`TRACE-SPAN`), while that is not closed
}

-- As Redis keeps them: numbers of 6 bytes, which hold any time in ms, then texts behind their lengths; the
-- breaker is the last text of the other part, empty while it is fresh.
local USE = '<' .. string.rep('i6', 9) .. 'B' .. string.rep('I2c0', 5)
local BREAKER = '<' .. string.rep('i6', 8) .. string.rep('I2c0', 5)

-- All of it is of the call at work: `begin` takes up the next one.
local stored = {} -- of the record as it was, that which must be known when it is saved
local breaker = {}
local packed_breaker -- as Redis has it; nil once the script has changed it
local s = setmetatable({}, { -- the record, which the script changes
  __index = breaker,
  __newindex = function(_, field, value)
    breaker[field] = value
    packed_breaker = nil
  end,
})

local function unpack_breaker(packed)
  local b = breaker
  if packed == '' then
    for field, value in pairs(FRESH_BREAKER) do b[field] = value end
  else
    b.epoch, b.opened_ms, b.until_ms, b.closed_ms, b.level, b.ban_until_ms, b.suppressed, b.seen_until_ms,
      b.state, b.cause, b.reason, b.terminal, b.trace = struct.unpack(BREAKER, packed)
  end
  stored.state, stored.epoch, stored.cause, stored.reason = b.state, b.epoch, b.cause, b.reason
  stored.until_ms = b.until_ms
  packed_breaker = packed
end

local function pack_breaker()
  local b = breaker
  return struct.pack(BREAKER,
    b.epoch, b.opened_ms, b.until_ms, b.closed_ms, b.level, b.ban_until_ms, b.suppressed, b.seen_until_ms,
    #b.state, b.state, #b.cause, b.cause, #b.reason, b.reason, #b.terminal, b.terminal, #b.trace, b.trace)
end

local function unpack_record(packed)
  local r = s
  local its_breaker
  r.failures, r.oldest_ms, r.last_failure_ms, r.attempts, r.connection_ms, r.attempt_until_ms, r.touched_ms,
    r.registered_ms, r.due_ms, r.proven,
    r.last_kind, r.last_detail, r.attempt, r.connection, its_breaker = struct.unpack(USE, packed)
  if its_breaker ~= packed_breaker then unpack_breaker(its_breaker) end
end

local function pack_record()
  local r, its_breaker = s, packed_breaker or pack_breaker()
  return struct.pack(USE,
    r.failures, r.oldest_ms, r.last_failure_ms, r.attempts, r.connection_ms, r.attempt_until_ms, r.touched_ms,
    r.registered_ms, r.due_ms, r.proven,
    #r.last_kind, r.last_kind, #r.last_detail, r.last_detail, #r.attempt, r.attempt,
    #r.connection, r.connection, #its_breaker, its_breaker)
end

local function unuse()
  for field, value in pairs(FRESH_USE) do rawset(s, field, value) end
end
unuse() -- from now on these fields are the table's own

local function forget_record()
  unuse()
  for field, value in pairs(FRESH_BREAKER) do s[field] = value end
end

local writing -- whether the script may write
local kept -- the record as Redis has it; false where it has none
local now, policy
local by_clock -- whether it is the clock that acts, and not the caller: while `settle` runs

local CLOCK = { source = 'clock' }

local function write(...)
  if writing then return redis.call(...) end
end

local function begin(KEYS, writes)
  name_keys(KEYS)
  writing = writes
  kept = redis.call('GET', INSTANCE)
  if kept then
    unpack_record(kept)
  else
    unuse()
    unpack_breaker('')
    write('DEL', FAILURES, own('seen'), own('probes'), own('proving'), own('reporters')) -- of a lost record
  end
  stored.failures, stored.last_failure_ms, stored.attempts = s.failures, s.last_failure_ms, s.attempts
  stored.connection, stored.registered_ms = s.connection, s.registered_ms
  now = server_ms()
  if now < s.touched_ms then now = s.touched_ms end
  policy = policy_in_force(POLICIES, request.instance_id)
  by_clock = false
  transitions = nil
end

-- The span that asked, for what time makes of it later.
local function blame()
  local origin = by_clock and CLOCK or caller()
  local traced = origin.trace_id and origin.span_id and origin.span_id ~= ''
  s.trace = traced and origin.trace_id .. '-' .. origin.span_id or ''
end

-- Records one transition in the partition's feed and in the instance's own history.
local function record(action, before, at)
  if not writing then return end
  local entry = audit_entry({
    instance_id = request.instance_id, action = action, at_ms = at,
    before = before, after = s.state, epoch = s.epoch, cause = s.cause,
    until_ms = s.until_ms > 0 and s.until_ms or nil,
  }, by_clock and CLOCK or caller())
  append_event(EVENTS, entry)
  append_history(own('history'), entry)
  if action == 'policy' then return end
  if not by_clock then blame() end
  note({
    instance_id = request.instance_id, action = action, before = before, after = s.state,
    epoch = s.epoch, cause = s.cause, trace = s.trace,
  })
  if s.state == 'closed' then s.trace = '' end
end
