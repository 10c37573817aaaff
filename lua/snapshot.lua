#!lua flags=no-writes
-- snapshot: an instance as it stands now. Changes nothing.
--
-- KEYS  1 INSTANCE   string  the record; 4 days after its last use (a year more where it is held)
--       2 PARTITION  none    what the names of the partition's keys begin with, those below; never a key itself
--         FAILURES   zset    counted report ids by time (ms / 16); as INSTANCE
--         SEEN       zset    report ids that stay duplicates; a window after a trip or reset
--         PROBES     zset    attempts in flight by deadline (ms); as the latest deadline
--         PROVING    zset    connected probes by the time of their credit (ms); as INSTANCE
--         REPORTERS  zset    gateways by their latest failure (ms); a window
--         HISTORY    stream  the instance's last 100 transitions; 7 days after the last
--         POLICIES   hash    policies as set, field * for the fleet; never: it is configuration
--         TOTALS     hash    sums over the partition's instances; 2 days after the last use of any
--         INDEX      zset    all:ID and STATE:ID, in the order of ids; as TOTALS
--         DUE        zset    instances by when time alone changes them (ms); as TOTALS
--         EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--         VIEW       hash    instances that are not plainly closed, as replicas see them; as TOTALS
-- ARGV  1 request, msgpack:
--         instance_id
--         with_failures   whether to list the window's failures
--         now_ms          tests only
-- Returns msgpack: the fields of Reading (sekring/store/contract.py)

-- include: request audit announce policy keys instance machine registry

local function some(value)
  if value ~= 0 and value ~= '' then return value end
end

-- Without what msgpack cannot tell from an empty list.
local function packable(of)
  local copy = {}
  for name, value in pairs(of) do copy[name] = value end
  if not next(copy.weights) then copy.weights = nil end
  return copy
end

return function(KEYS, ARGV)
  receive(ARGV)
  begin(KEYS, false)
  settle()

  local failures = {}
  if request.with_failures and s.failures > 0 then
    local first = score_from(now - policy.window_ms + 1)
    local scored = redis.call('ZRANGE', FAILURES, first, '+inf', 'BYSCORE', 'WITHSCORES')
    for i = 2, #scored, 2 do
      local score = tonumber(scored[i])
      failures[#failures + 1] = { at_ms = time_of(score), kind = kind_of(score) }
    end
  end

  local half_open = s.state == 'half_open'
  return cmsgpack.pack({
    snapshot = {
      instance_id = request.instance_id,
      known = s.registered_ms > 0,
      state = s.state,
      epoch = s.epoch,
      failures = s.failures,
      failure_threshold = policy.failure_threshold,
      retry_attempts = retries(s),
      suppressed = s.suppressed,
      cause = some(s.cause),
      reason = some(s.reason),
      opened_at_ms = some(s.opened_ms),
      resets_at_ms = some(s.until_ms),
      remaining_ms = remaining(),
      ban_until_ms = s.ban_until_ms > now and s.ban_until_ms or nil,
      terminal = some(s.terminal),
      connection = s.connection,
      connection_since_ms = some(s.connection_ms),
      probes_in_flight = half_open and probes_in_flight() or 0,
      probe_successes = half_open and probe_successes() or 0,
      last_failure_at_ms = some(s.last_failure_ms),
      last_failure_kind = some(s.last_kind),
      last_failure_detail = some(s.last_detail),
      recent_failures = failures,
      now_ms = now,
    },
    policy = packable(policy),
    -- What the totals hold for this instance, and what they should hold now.
    accounted = contribution(stored),
    effective = contribution(s),
  })
end
