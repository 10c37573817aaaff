#!lua flags=no-writes
-- vacancies: how many sessions of a partition are wanted, and how many of all can be claimed. Changes nothing.
--
-- KEYS  1 SESSIONS   hash    sessions that are to be connected; never: it is configuration
--       2 LEASES     zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
-- ARGV  1 request, msgpack:
--         now_ms   tests only
-- Returns msgpack: the fields of PartitionVacancies (sekring/store/session_contract.py)

local SESSIONS, LEASES
-- include: request vacancy

return function(KEYS, ARGV)
  receive(ARGV)
  SESSIONS, LEASES = KEYS[1], KEYS[2]
  local now = server_ms()
  -- Those whose end is impossibly far away want a look as well: a claim shortens them.
  local far = redis.call('ZCOUNT', LEASES, '(' .. now + LEASE_MAX_MS, '+inf')
  return cmsgpack.pack({
    sessions = redis.call('HLEN', SESSIONS),
    -- More than those are no longer wanted: their owners have yet to hear of it, or are gone.
    leases = redis.call('ZCARD', LEASES),
    vacant = redis.call('ZCOUNT', LEASES, '-inf', now) + far,
  })
end
