#!lua
-- want_session: a session is to be connected from now on, by whichever gateway claims it.
--
-- KEYS  1 SESSIONS   hash    sessions that are to be connected; never: it is configuration
--       2 LEASES     zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       3 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--       4 HISTORY    stream  the instance's last 100 transitions; 7 days after the last
-- ARGV  1 request, msgpack:
--         instance_id
--         origin   {actor, reason, source, trace_id, span_id}
--         now_ms   tests only
-- Returns 1 if it was not wanted before, else 0

local SESSIONS, LEASES, EVENTS, HISTORY
-- include: request audit

return function(KEYS, ARGV)
  receive(ARGV)
  SESSIONS, LEASES, EVENTS, HISTORY = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
  local now = server_ms()
  local origin = request.origin or {}
  local session = cjson.encode({ created_ms = now, created_by = origin.actor or '' })
  local is_new = redis.call('HSETNX', SESSIONS, request.instance_id, session)
  -- One that is still owned from before stays so until its owner is done with it.
  redis.call('ZADD', LEASES, 'NX', 0, request.instance_id)
  if is_new == 1 then
    local entry = audit_entry({ instance_id = request.instance_id, action = 'want_session', at_ms = now }, origin)
    append_event(EVENTS, entry)
    append_history(HISTORY, entry)
  end
  return is_new
end
