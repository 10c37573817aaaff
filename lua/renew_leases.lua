#!lua
-- renew_leases: prolongs those of a gateway's leases in one partition that are still its own.
--
-- KEYS  1 SESSIONS   hash    sessions that are to be connected; never: it is configuration
--       2 LEASES     zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       3 OWNERS     hash    owner and phase of sessions, field * the last token; never: tokens must go on growing
--       4 WAITING    zset    sessions with errands, by when the last one expires (ms); until then
--       5 TOTALS     hash    sums over the partition's instances; 2 days after the last use of any
--       6 VIEW       hash    instances that are not plainly closed, as replicas see them; as TOTALS
-- ARGV  1 request, msgpack:
--         gateway
--         ttl_ms         how long they last from now on
--         instance_ids
--         tokens         the fencing token of each: an outdated one prolongs nothing
--         now_ms         tests only
-- Returns msgpack: the fields of RenewedLeases (sekring/store/session_contract.py)

local SESSIONS, LEASES, OWNERS, WAITING, TOTALS, VIEW
-- include: request announce lease wish errand remind

return function(KEYS, ARGV)
  receive(ARGV)
  SESSIONS, LEASES, OWNERS, WAITING, TOTALS, VIEW = unpack(KEYS, 1, 6)
  local now = server_ms()
  local held, wanted, errands = {}, {}, {}
  for i, instance_id in ipairs(request.instance_ids) do
    held[i] = is_held(instance_id, owner_of(instance_id), request.tokens[i], now)
    wanted[i] = is_wanted(instance_id)
    errands[i] = held[i] and has_errands(instance_id, now)
    if held[i] then redis.call('ZADD', LEASES, now + request.ttl_ms, instance_id) end
    if errands[i] then remind(instance_id) end
  end
  return cmsgpack.pack({ held = held, wanted = wanted, errands = errands })
end
