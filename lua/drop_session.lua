#!lua
-- drop_session: a session is not to be connected any more. Its owner hears of it with its next renewal.
--
-- KEYS  1 SESSIONS   hash    sessions that are to be connected; never: it is configuration
--       2 LEASES     zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       3 OWNERS     hash    owner and phase of sessions, field * the last token; never: tokens must go on growing
--       4 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--       5 HISTORY    stream  the instance's last 100 transitions; 7 days after the last
-- ARGV  1 request, msgpack:
--         instance_id
--         origin   {actor, reason, source, trace_id, span_id}
--         now_ms   tests only
-- Returns 1 if it was wanted, else 0

local SESSIONS, LEASES, OWNERS, EVENTS, HISTORY
-- include: request audit lease

return function(KEYS, ARGV)
  receive(ARGV)
  SESSIONS, LEASES, OWNERS, EVENTS, HISTORY = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
  local now = server_ms()
  local was_wanted = redis.call('HDEL', SESSIONS, request.instance_id)
  if not lasts(request.instance_id, now) then forget(request.instance_id) end
  if was_wanted == 1 then
    local fields = { instance_id = request.instance_id, action = 'drop_session', at_ms = now }
    local entry = audit_entry(fields, request.origin)
    append_event(EVENTS, entry)
    append_history(HISTORY, entry)
  end
  return was_wanted
end
