-- One instance: its keys, its record as it was, and what is recorded of it.
-- All of it is of the call at work: `begin` takes up the next one.

local INSTANCE, FAILURES, SEEN, PROBES, PROVING, REPORTERS, HISTORY,
  POLICIES, TOTALS, INDEX, DUE, EVENTS, VIEW

local HOUR_MS = 3600000
local DAY_MS = 24 * HOUR_MS
-- A silent instance is forgotten after a day. Its record outlives that by more than the partition's
-- keys live without any writer, so that what it added to the totals can always be taken off again.
local SILENCE_MS = DAY_MS
local INSTANCE_TTL_MS = 4 * DAY_MS
local HELD_TTL_MS = 366 * DAY_MS

-- The record of an instance that was never seen. Only what differs from this is stored, as a msgpack map: that
-- takes as much memory as a hash, and is taken up in one go.
local FRESH = {
  state = 'closed',
  epoch = 0,
  cause = '',            -- why it is open
  reason = '',           -- what the operator said
  opened_ms = 0,
  until_ms = 0,          -- when the state ends by itself; 0: never
  closed_ms = 0,         -- since when it is healthy
  level = 0,             -- steps that the cooldown has grown
  terminal = '',         -- the kind that only a person can lift
  ban_until_ms = 0,
  failures = 0,          -- members of FAILURES
  oldest_ms = 0,         -- the oldest of them
  suppressed = 0,        -- failures reported while open
  seen_until_ms = 0,     -- until when SEEN must be asked
  last_kind = '',
  last_detail = '',
  last_failure_ms = 0,
  attempts = 0,          -- permitted since the last proven connection
  attempt = '',          -- the last attempt's token
  connection = '',       -- '', connecting, connected
  connection_ms = 0,     -- since when
  attempt_until_ms = 0,  -- when a connecting one is given up
  proven = 0,            -- 1: the connection's success was credited
  touched_ms = 0,        -- last use; the instance's clock never runs behind it
  registered_ms = 0,     -- when it was last entered in the partition's keys
  due_ms = 0,            -- its score in DUE
  trace = '',            -- whose request made it what it is (`TRACE-SPAN`), while that is not closed
}
local OTHERWISE_FRESH = { __index = FRESH }

local writing -- whether the script may write
local kept -- the record as Redis has it; false where it has none
local s -- the record, which the script changes
local stored -- of what it was, that which must be known when it is saved
local now, policy
local origin -- who acts: the caller, or the clock while `settle` runs
local by_clock -- whether it does

local NOBODY, CLOCK = {}, { source = 'clock' }

local function write(...)
  if writing then return redis.call(...) end
end

local function begin(KEYS, ARGV, writes)
  receive(ARGV)
  INSTANCE, FAILURES, SEEN, PROBES, PROVING, REPORTERS, HISTORY,
    POLICIES, TOTALS, INDEX, DUE, EVENTS, VIEW = unpack(KEYS, 1, 13)
  writing = writes
  kept = redis.call('GET', INSTANCE)
  s = setmetatable(kept and cmsgpack.unpack(kept) or {}, OTHERWISE_FRESH)
  stored = {
    state = s.state, epoch = s.epoch, cause = s.cause, reason = s.reason, until_ms = s.until_ms,
    failures = s.failures, last_failure_ms = s.last_failure_ms, attempts = s.attempts,
    connection = s.connection, registered_ms = s.registered_ms,
  }
  if not kept then write('DEL', FAILURES, SEEN, PROBES, PROVING, REPORTERS) end -- of a lost record
  now = math.max(server_ms(), s.touched_ms)
  policy = policy_in_force(POLICIES, request.instance_id)
  origin = request.origin or NOBODY
  by_clock = false
  transitions = nil
end

-- The span that asked, for what time makes of it later.
local function blame()
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
  }, origin)
  append_event(EVENTS, entry)
  append_history(HISTORY, entry)
  if action == 'policy' then return end
  if not by_clock then blame() end
  note({
    instance_id = request.instance_id, action = action, before = before, after = s.state,
    epoch = s.epoch, cause = s.cause, trace = s.trace,
  })
  if s.state == 'closed' then s.trace = '' end
end
