#!lua
-- set_override: sets, changes or removes an instance's own policy, and applies it to the instance at once.
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
--         policy    JSON {version, patch}; without it the override is removed
--         version   the version that it replaces (0: none); another one there changes nothing
--         origin    {actor, reason, source, trace_id, span_id}
--         now_ms    tests only
-- Returns 1, or 0 if another version was there; or, msgpack, the transitions that it has made
--         (Made, sekring/store/contract.py)

-- include: request audit announce policy keys instance machine registry

return function(KEYS, ARGV)
  receive(ARGV)
  begin(KEYS, true)
  local override = redis.call('HGET', POLICIES, request.instance_id)
  local version = override and cjson.decode(override).version or 0
  if version ~= request.version then return 0 end
  settle()
  if request.policy then
    redis.call('HSET', POLICIES, request.instance_id, request.policy)
  else
    redis.call('HDEL', POLICIES, request.instance_id)
  end
  policy = policy_in_force(POLICIES, request.instance_id)
  settle()
  record('policy', s.state, now)
  s.due_ms = 0 -- another window moves what is due
  announce(TOTALS, VIEW, {})
  save()
  return reply()
end
