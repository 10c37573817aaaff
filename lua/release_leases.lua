#!lua
-- release_leases: gives sessions of one partition back; whoever claims next gets them.
--
-- KEYS  1 SESSIONS   hash    sessions that are to be connected; never: it is configuration
--       2 LEASES     zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       3 OWNERS     hash    owner and phase of sessions, field * the last token; never: tokens must go on growing
-- ARGV  1 request, msgpack:
--         gateway
--         instance_ids
--         tokens         the fencing token of each: an outdated one gives nothing back
--         now_ms         tests only
-- Returns msgpack: the fields of ReleasedLeases (sekring/store/session_contract.py)

local SESSIONS, LEASES, OWNERS
-- include: request lease wish

return function(KEYS, ARGV)
  receive(ARGV)
  SESSIONS, LEASES, OWNERS = KEYS[1], KEYS[2], KEYS[3]
  local now = server_ms()
  local released = {}

  local function release(instance_id, owner)
    if not is_wanted(instance_id) then return forget(instance_id) end
    set_owner(instance_id, {
      gateway = '', token = owner.token, phase = 'vacant', since_ms = now, device = owner.device,
    })
    redis.call('ZADD', LEASES, 0, instance_id)
  end

  for i, instance_id in ipairs(request.instance_ids) do
    local owner = owner_of(instance_id)
    -- Said again, it is answered the same; one that has run out may be given back as well.
    released[i] = owner.token == request.tokens[i] and (owner.gateway == request.gateway or owner.gateway == '')
    if released[i] and owner.gateway ~= '' then release(instance_id, owner) end
  end
  return cmsgpack.pack({ released = released })
end
