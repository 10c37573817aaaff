#!lua
-- set_policy: stores the fleet's policy in one partition, unless it holds the same or a newer version.
--
-- KEYS  1 POLICIES   hash    policies as set, field * for the fleet; never: it is configuration
--       2 DUE        zset    instances by when time alone changes them (ms); 2 days after the last use of any
--       3 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--       4 TOTALS     hash    sums over the partition's instances; 2 days after the last use of any
--       5 VIEW       hash    instances that are not plainly closed, as replicas see them; as TOTALS
-- ARGV  1 request, msgpack:
--         policy      JSON {version, patch}
--         version     its version
--         first       whether this is the first partition to take it: there it is recorded
--         origin      {actor, reason, source, trace_id, span_id}
--         now_ms      tests only
-- Returns 1 if it was stored, else 0

-- include: request audit announce

return function(KEYS, ARGV)
  receive(ARGV)
  local POLICIES, DUE, EVENTS, TOTALS, VIEW = unpack(KEYS, 1, 5)

  local stored = redis.call('HGET', POLICIES, '*')
  if stored and cjson.decode(stored).version >= request.version then return 0 end
  redis.call('HSET', POLICIES, '*', request.policy)
  -- Another window or cooldown moves what is due: every instance is, now.
  local ttl = redis.call('PTTL', DUE)
  if ttl > 0 then
    redis.call('ZUNIONSTORE', DUE, 1, DUE, 'WEIGHTS', 0)
    redis.call('PEXPIRE', DUE, ttl)
  end
  announce(TOTALS, VIEW, {})
  if request.first then
    local fields = { instance_id = '*', action = 'policy', at_ms = server_ms() }
    append_event(EVENTS, audit_entry(fields, request.origin))
  end
  return 1
end
