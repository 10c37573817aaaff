#!lua flags=no-writes
-- read_sessions: some sessions of one partition as they stand now. Changes nothing.
--
-- KEYS  1 SESSIONS   hash    sessions that are to be connected; never: it is configuration
--       2 LEASES     zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       3 OWNERS     hash    owner and phase of sessions, field * the last token; never: tokens must go on growing
-- ARGV  1 request, msgpack:
--         instance_ids
--         now_ms         tests only
-- Returns msgpack: the fields of SessionsRead (sekring/store/session_contract.py)

local SESSIONS, LEASES, OWNERS
-- include: request

return function(KEYS, ARGV)
  receive(ARGV)
  SESSIONS, LEASES, OWNERS = KEYS[1], KEYS[2], KEYS[3]
  local sessions = {}
  for i, instance_id in ipairs(request.instance_ids) do
    sessions[i] = {
      instance_id = instance_id,
      session = redis.call('HGET', SESSIONS, instance_id) or nil,
      owner = redis.call('HGET', OWNERS, instance_id) or nil,
      ends_ms = tonumber(redis.call('ZSCORE', LEASES, instance_id)),
    }
  end
  return cmsgpack.pack({ sessions = sessions, now_ms = server_ms() })
end
