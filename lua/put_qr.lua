#!lua
-- put_qr: the owner of a session shows a QR code; the session is pairing then.
--
-- KEYS  1 LEASES  zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       2 OWNERS  hash    owner and phase of sessions, field * the last token; never: tokens must go on growing
--       3 QR      string  the lease's fencing token and the QR code, sealed; as long as the code is good
--       4 TOTALS  hash    sums over the partition's instances; 2 days after the last use of any
--       5 VIEW    hash    instances that are not plainly closed, as replicas see them; as TOTALS
-- ARGV  1 request, msgpack:
--         instance_id
--         gateway
--         token           its fencing token: an outdated one shows nothing
--         code            sealed
--         expires_in_ms
--         now_ms          tests only
-- Returns 1 if the lease is the caller's, else 0

local LEASES, OWNERS, QR, TOTALS, VIEW
-- include: request announce lease

return function(KEYS, ARGV)
  receive(ARGV)
  LEASES, OWNERS, QR, TOTALS, VIEW = unpack(KEYS, 1, 5)
  local now = server_ms()
  local owner = owner_of(request.instance_id)
  if not is_held(request.instance_id, owner, request.token, now) then return 0 end
  if owner.phase ~= 'pairing' then
    owner.phase, owner.since_ms = 'pairing', now
    set_owner(request.instance_id, owner)
  end
  redis.call('SET', QR, string.format('%d %s', request.token, request.code), 'PX', request.expires_in_ms)
  announce(TOTALS, VIEW, { bell = 'qr:' .. request.instance_id })
  return 1
end
