#!lua flags=no-writes
-- totals: a partition's sums, and the instances that time has changed since they were summed.
--
-- KEYS  1 TOTALS     hash    sums over the partition's instances; 2 days after the last use of any
--       2 DUE        zset    instances by when time alone changes them (ms); as TOTALS
--       3 POLICIES   hash    policies as set, field * for the fleet; never: it is configuration
-- ARGV  1 request, msgpack:
--         limit    due instances to name at most
--         now_ms   tests only
-- Returns msgpack: the fields of PartitionTotals (sekring/store/contract.py)

-- include: request

return function(KEYS, ARGV)
  receive(ARGV)
  local TOTALS, DUE, POLICIES = KEYS[1], KEYS[2], KEYS[3]

  local now = server_ms()
  local sums = {}
  local flat = redis.call('HGETALL', TOTALS)
  for i = 1, #flat, 2 do sums[flat[i]] = tonumber(flat[i + 1]) end
  local fleet = redis.call('HGET', POLICIES, '*')
  return cmsgpack.pack({
    known = sums.known,
    connected = sums.connected,
    connecting = sums.connecting,
    open = sums.open,
    half_open = sums.half_open,
    forced_open = sums.forced_open,
    disabled = sums.disabled,
    retry_attempts = sums.retry_attempts,
    failures = sums.failures,
    failing = sums.failing,
    due = redis.call('ZRANGE', DUE, '-inf', now, 'BYSCORE', 'LIMIT', 0, request.limit),
    seq = sums.seq,
    now_ms = now,
    policy_version = fleet and cjson.decode(fleet).version or 0,
  })
end
