#!lua
-- advance_webhook: writes down how far a webhook was delivered, unless another replica has taken it over.
--
-- KEYS  1 WEBHOOKS   hash    webhooks as defined, by id; never: it is configuration
--       2 HOOKSTATE  hash    a webhook's places in the streams and how its delivery goes; 8 days after its last use
-- ARGV  1 request, msgpack:
--         id
--         token         the caller's fencing token: an outdated one changes nothing
--         places        up to where everything was delivered: by partition, `ms-seq ordinal`
--         delivered     events delivered so far
--         lost          events lost so far
--         attempts      attempts that failed since the last success
--         succeeded     whether one succeeded since the last call
--         error         what came of the last one that failed since the last call
--         retry_in_ms   when the next one is made
--         now_ms        tests only
-- Returns 1 if it was written, else 0

-- include: request webhook

return function(KEYS, ARGV)
  receive(ARGV)
  local WEBHOOKS, HOOKSTATE = KEYS[1], KEYS[2]

  if redis.call('HEXISTS', WEBHOOKS, request.id) == 0 then return 0 end
  if tonumber(redis.call('HGET', HOOKSTATE, 'token')) ~= request.token then return 0 end
  local now = server_ms()
  for partition, place in pairs(request.places) do redis.call('HSET', HOOKSTATE, partition, place) end
  redis.call('HSET', HOOKSTATE, 'delivered', request.delivered, 'lost', request.lost, 'attempts', request.attempts)
  if request.succeeded then redis.call('HSET', HOOKSTATE, 'last_success_ms', now) end
  if request.error then redis.call('HSET', HOOKSTATE, 'last_error', request.error, 'last_error_ms', now) end
  if request.retry_in_ms then
    redis.call('HSET', HOOKSTATE, 'next_try_ms', now + request.retry_in_ms)
  else
    redis.call('HDEL', HOOKSTATE, 'next_try_ms')
  end
  redis.call('PEXPIRE', HOOKSTATE, HOOKSTATE_TTL_MS)
  return 1
end
