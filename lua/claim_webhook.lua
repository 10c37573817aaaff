#!lua
-- claim_webhook: takes, or renews, the lease under which one replica delivers a webhook.
--
-- KEYS  1 WEBHOOKS   hash    webhooks as defined, by id; never: it is configuration
--       2 HOOKSTATE  hash    a webhook's places in the streams and how its delivery goes; 8 days after its last use
--       3 HOOKLEASE  string  the replica that delivers it, and its fencing token; seconds after its last renewal
-- ARGV  1 request, msgpack:
--         id
--         owner      the replica that asks; no two have the same name
--         lease_ms   how long the lease lasts
--         now_ms     tests only
-- Returns msgpack: the fields of WebhookClaim (sekring/store/contract.py)

-- include: request webhook

return function(KEYS, ARGV)
  receive(ARGV)
  local WEBHOOKS, HOOKSTATE, HOOKLEASE = KEYS[1], KEYS[2], KEYS[3]

  local definition = redis.call('HGET', WEBHOOKS, request.id)
  if not definition then return cmsgpack.pack({ token = 0 }) end
  local lease = redis.call('GET', HOOKLEASE)
  local owner, token = string.match(lease or '', '^(%S+) (%d+)$')
  if owner and owner ~= request.owner then return cmsgpack.pack({ token = 0, definition = definition }) end
  -- Its own lease keeps its token, so that a repeated call changes nothing.
  token = tonumber(token) or redis.call('HINCRBY', HOOKSTATE, 'token', 1)
  redis.call('SET', HOOKLEASE, string.format('%s %d', request.owner, token), 'PX', request.lease_ms)
  redis.call('PEXPIRE', HOOKSTATE, HOOKSTATE_TTL_MS)
  local state = {}
  local flat = redis.call('HGETALL', HOOKSTATE)
  for i = 1, #flat, 2 do state[flat[i]] = flat[i + 1] end
  return cmsgpack.pack({ token = token, definition = definition, state = state })
end
