#!lua
-- refuse_build: refuses permits to a build of the gateway that WhatsApp does not take (any more).
--
-- KEYS  1 BUILDS     hash    gateway builds that are refused, by build; until the last refusal ends
--       2 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--       3 TOTALS     hash    sums over the partition's instances; 2 days after the last use of any
--       4 VIEW       hash    instances that are not plainly closed, as replicas see them; as TOTALS
-- ARGV  1 request, msgpack:
--         build    the gateway's build
--         kind     client_outdated or bad_user_agent; without it the build is permitted again
--         for_ms   how long it is refused
--         first    whether this is the first partition to take it: there it is recorded
--         origin   {actor, reason, source, trace_id, span_id}
--         now_ms   tests only
-- Returns 1 if this changed anything, else 0

-- include: request audit announce

return function(KEYS, ARGV)
  receive(ARGV)
  local BUILDS, EVENTS, TOTALS, VIEW = unpack(KEYS, 1, 4)

  local now = server_ms()
  local refusal = redis.call('HGET', BUILDS, request.build)
  local refused = refusal and tonumber(string.match(refusal, ' (%d+)$')) > now
  local action, before, after
  if request.kind then
    if refused then return 0 end
    redis.call('HSET', BUILDS, request.build, string.format('%s %d', request.kind, now + request.for_ms))
    redis.call('PEXPIRE', BUILDS, request.for_ms, 'NX')
    redis.call('PEXPIRE', BUILDS, request.for_ms, 'GT')
    action, before, after = 'refuse_build', 'permitted', 'refused'
  else
    redis.call('HDEL', BUILDS, request.build)
    if not refused then return 0 end
    action, before, after = 'permit_build', 'refused', 'permitted'
  end
  announce(TOTALS, VIEW, {})
  if request.first then
    local cause = (request.kind or 'operator') .. ' ' .. request.build
    local fields = { instance_id = '*', action = action, at_ms = now, before = before, after = after, cause = cause }
    append_event(EVENTS, audit_entry(fields, request.origin))
  end
  return 1
end
