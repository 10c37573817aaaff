#!lua
-- disable_webhook: stores a webhook's definition with the reason why it is delivered no more.
--
-- KEYS  1 WEBHOOKS   hash    webhooks as defined, by id; never: it is configuration
--       2 HOOKSTATE  hash    a webhook's places in the streams and how its delivery goes; 8 days after its last use
--       3 HOOKLEASE  string  the replica that delivers it, and its fencing token; seconds after its last renewal
--       4 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
-- ARGV  1 request, msgpack:
--         id
--         token        the caller's fencing token: an outdated one changes nothing
--         definition   JSON
--         origin       {actor, reason, source, trace_id, span_id}
--         now_ms       tests only
-- Returns 1 if it was stored, else 0

-- include: request audit

return function(KEYS, ARGV)
  receive(ARGV)
  local WEBHOOKS, HOOKSTATE, HOOKLEASE, EVENTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

  local stored = redis.call('HGET', WEBHOOKS, request.id)
  if not stored or stored == request.definition then return 0 end
  if tonumber(redis.call('HGET', HOOKSTATE, 'token')) ~= request.token then return 0 end
  redis.call('HSET', WEBHOOKS, request.id, request.definition)
  redis.call('DEL', HOOKLEASE)
  local fields = { instance_id = '*', action = 'disable_webhook', at_ms = server_ms(), cause = request.id }
  append_event(EVENTS, audit_entry(fields, request.origin))
  return 1
end
