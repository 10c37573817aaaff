#!lua
-- release_webhook: gives a lease up, so that another replica need not wait for its end.
--
-- KEYS  1 HOOKLEASE  string  the replica that delivers it, and its fencing token; seconds after its last renewal
-- ARGV  1 request, msgpack:
--         owner    the replica that had it
--         token    its fencing token
--         now_ms   tests only
-- Returns 1 if it was held, else 0

-- include: request

return function(KEYS, ARGV)
  receive(ARGV)
  local HOOKLEASE = KEYS[1]

  if redis.call('GET', HOOKLEASE) ~= string.format('%s %d', request.owner, request.token) then return 0 end
  return redis.call('DEL', HOOKLEASE)
end
