#!lua
-- permit: may this instance connect now? In half-open it takes a probe slot.
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
--         BUILDS     hash    gateway builds that are refused, by build; until the last refusal ends
-- ARGV  1 request, msgpack array:
--         now_ms   tests only
--         instance_id
--         token    what makes the attempt's id unique; asking again with it takes nothing twice
--         build    the gateway's build, if it said so
--         epoch    of an attempt that a replica has permitted: its view's; not registered if it is late
--         age_ms   how long ago that was
--         sent_ms  when it was sent, at the latest, by Redis' clock as its sender knows it
--         random   0 to 1, for the jitter
--         origin   {actor, reason, source, trace_id, span_id}
-- Returns msgpack array: the fields of PermitReply (sekring/store/replies.py)

-- include: request audit announce policy keys instance machine registry

local function unpack_request(ARGV)
  origin_at, request.now_ms, request.instance_id, request.token, request.build, request.epoch, request.age_ms,
    request.sent_ms, request.random
    = receive_values(ARGV, 9)
end

local function refused_build()
  local refusal = request.build and redis.call('HGET', BUILDS, request.build)
  if not refusal then return end
  local kind, until_ms = string.match(refusal, '^(%S+) (%d+)$')
  if tonumber(until_ms) > now then return kind, until_ms - now end
end

-- Free slots are those that nobody holds; one whose prober died is free at its deadline.
local function take_slot(attempt_id)
  if redis.call('ZSCORE', own('probes'), attempt_id) then return true end
  if probes_in_flight() >= policy.probes then return false end
  redis.call('ZADD', own('probes'), now + policy.probe_ttl_ms, attempt_id)
  redis.call('PEXPIRE', own('probes'), policy.probe_ttl_ms + HOUR_MS)
  return true
end

local function next_free_slot_ms()
  local _, deadline = next_slot(own('probes'))
  local _, credit = next_slot(own('proving'))
  return math.min(deadline or math.huge, credit or math.huge) - now
end

local function answer(attempt_id, wait_ms, cause, reason, retry_after_ms)
  save()
  return cmsgpack.pack({
    s.epoch, s.state, s.failures, attempt_id, wait_ms, cause, reason,
    transitions or NO_TRANSITIONS, retry_after_ms,
  })
end

local function permit(attempt_id, wait_ms)
  return answer(attempt_id, wait_ms, '', '', 0)
end

local function refuse(cause, retry_after_ms, reason)
  return answer('', 0, cause, reason or '', retry_after_ms)
end

return function(KEYS, ARGV)
  unpack_request(ARGV)
  begin(KEYS, true)
  settle()

  local build_kind, build_retry_ms = refused_build()
  if build_kind and s.state ~= 'disabled' then
    return refuse(build_kind, build_retry_ms)
  end

  if s.state == 'open' or s.state == 'forced_open' then
    return refuse(s.cause, remaining(), s.reason)
  end

  if request.epoch and request.epoch < s.epoch then return refuse('late') end

  local attempt_id = string.format('%x-%s', s.epoch, request.token)
  if s.state == 'half_open' and not take_slot(attempt_id) then
    return refuse('probing', next_free_slot_ms())
  end

  local wait_ms = backoff_ms()
  if s.attempt ~= request.token then
    s.attempts = s.attempts + 1
    s.attempt = request.token
  end
  local at = happened_at(now)
  if at >= s.connection_ms then
    connect('connecting', at)
    s.attempt_until_ms = at + policy.probe_ttl_ms
  end
  touch()
  return permit(attempt_id, wait_ms)
end
