#!lua
-- claim_keyspace: fixes the partition count at the first use, and tells it (and the shared secret) ever after.
--
-- KEYS  1 KEYSPACE   hash    partition count, secret and the like; never: another count would lose every instance
-- ARGV  1 request, msgpack:
--         partitions   the count that the caller was configured with
--         secret       random text, kept if there is none yet; signs cookies and CSRF tokens
--         now_ms       tests only
-- Returns msgpack: the fields of KeyspaceClaim (sekring/store/contract.py)

-- include: request

return function(KEYS, ARGV)
  receive(ARGV)
  local KEYSPACE = KEYS[1]

  redis.call('HSETNX', KEYSPACE, 'partitions', request.partitions)
  redis.call('HSETNX', KEYSPACE, 'secret', request.secret)
  redis.call('HSETNX', KEYSPACE, 'recording_since_ms', server_ms())
  local kept = redis.call('HMGET', KEYSPACE, 'partitions', 'secret')
  return cmsgpack.pack({ partitions = tonumber(kept[1]), secret = kept[2] })
end
