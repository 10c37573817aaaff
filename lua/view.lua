#!lua flags=no-writes
-- view: what a replica's view of a partition begins with; the push channel named like VIEW keeps it current.
--
-- KEYS  1 VIEW       hash    instances that are not plainly closed, as replicas see them; as TOTALS
--       2 TOTALS     hash    sums over the partition's instances; 2 days after the last use of any
--       3 POLICIES   hash    policies as set, field * for the fleet; never: it is configuration
--       4 BUILDS     hash    gateway builds that are refused, by build; until the last refusal ends
-- ARGV  1 request, msgpack:
--         now_ms   tests only
-- Returns msgpack: the fields of PartitionView (sekring/store/contract.py)

-- include: request

return function(KEYS, ARGV)
  receive(ARGV)
  local VIEW, TOTALS, POLICIES, BUILDS = unpack(KEYS, 1, 4)

  local numbers = redis.call('HMGET', TOTALS, 'seq', 'epoch')
  return cmsgpack.pack({
    seq = tonumber(numbers[1]) or 0,
    epoch = tonumber(numbers[2]) or 0,
    now_ms = server_ms(),
    instances = redis.call('HGETALL', VIEW),
    policies = redis.call('HGETALL', POLICIES),
    builds = redis.call('HGETALL', BUILDS),
  })
end
