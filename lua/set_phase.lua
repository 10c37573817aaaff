#!lua
-- set_phase: the owner of a session says where it stands.
--
-- KEYS  1 LEASES     zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       2 OWNERS     hash    owner and phase of sessions, field * the last token; never: tokens must go on growing
--       3 WAITING    zset    sessions with errands, by when the last one expires (ms); until then
--       4 TOTALS     hash    sums over the partition's instances; 2 days after the last use of any
--       5 VIEW       hash    instances that are not plainly closed, as replicas see them; as TOTALS
-- ARGV  1 request, msgpack:
--         instance_id
--         gateway
--         token    its fencing token: an outdated one changes nothing
--         phase    waiting, connecting, pairing, connected or unpaired
--         device   the JID that it was paired with; without it, as before, or none if it is unpaired
--         detail   what there is to say about it
--         now_ms   tests only
-- Returns 1 if the lease is the caller's, else 0

local LEASES, OWNERS, WAITING, TOTALS, VIEW
-- include: request announce lease errand remind

return function(KEYS, ARGV)
  receive(ARGV)
  LEASES, OWNERS, WAITING, TOTALS, VIEW = unpack(KEYS, 1, 5)
  local now = server_ms()
  local owner = owner_of(request.instance_id)
  if not is_held(request.instance_id, owner, request.token, now) then return 0 end
  if owner.phase ~= request.phase then owner.since_ms = now end
  owner.phase = request.phase
  owner.detail = request.detail
  owner.device = request.device or request.phase ~= 'unpaired' and owner.device or nil
  set_owner(request.instance_id, owner)
  if has_errands(request.instance_id, now) then remind(request.instance_id) end
  return 1
end
