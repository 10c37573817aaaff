#!lua
-- create_webhook: stores a webhook, unless there are as many as there may be.
--
-- KEYS  1 WEBHOOKS   hash    webhooks as defined, by id; never: it is configuration
--       2 HOOKSTATE  hash    a webhook's places in the streams and how its delivery goes; 8 days after its last use
--       3 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
-- ARGV  1 request, msgpack:
--         id
--         definition   JSON
--         limit        webhooks at most
--         places       where its delivery begins: by partition, `ms-seq ordinal`
--         origin       {actor, reason, source, trace_id, span_id}
--         now_ms       tests only
-- Returns 1 if it is stored, else 0

-- include: request audit webhook

return function(KEYS, ARGV)
  receive(ARGV)
  local WEBHOOKS, HOOKSTATE, EVENTS = KEYS[1], KEYS[2], KEYS[3]

  if redis.call('HEXISTS', WEBHOOKS, request.id) == 1 then return 1 end
  if redis.call('HLEN', WEBHOOKS) >= request.limit then return 0 end
  redis.call('HSET', WEBHOOKS, request.id, request.definition)
  redis.call('HSET', HOOKSTATE, 'token', 0)
  for partition, place in pairs(request.places) do redis.call('HSET', HOOKSTATE, partition, place) end
  redis.call('PEXPIRE', HOOKSTATE, HOOKSTATE_TTL_MS)
  local fields = { instance_id = '*', action = 'create_webhook', at_ms = server_ms(), cause = request.id }
  append_event(EVENTS, audit_entry(fields, request.origin))
  return 1
end
