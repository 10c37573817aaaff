#!lua flags=no-writes
-- minutes: how many failures a partition has counted in each of the last minutes. Changes nothing.
--
-- KEYS  1 MINUTES    hash    failures counted in the last hour, by minute since 1970; 2 hours
-- ARGV  1 request, msgpack:
--         now_ms   tests only
-- Returns msgpack: the fields of PartitionMinutes (sekring/store/contract.py)

-- include: request

return function(KEYS, ARGV)
  receive(ARGV)
  local MINUTES = KEYS[1]

  return cmsgpack.pack({ now_ms = server_ms(), counts = redis.call('HGETALL', MINUTES) })
end
