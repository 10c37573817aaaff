#!lua
-- claim_leases: makes a gateway the owner of sessions of one partition that nobody owns (any more).
--
-- KEYS  1 SESSIONS   hash    sessions that are to be connected; never: it is configuration
--       2 LEASES     zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       3 OWNERS     hash    owner and phase of sessions, field * the last token; never: tokens must go on growing
--       4 CLAIMS     hash    what each gateway's last claim was answered; a minute after the last
--       5 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--       6 WAITING    zset    sessions with errands, by when the last one expires (ms); until then
-- ARGV  1 request, msgpack:
--         gateway
--         id        names the claim: said again, it is answered the same
--         limit     sessions at most
--         ttl_ms    how long the leases last
--         origin    {actor, reason, source, trace_id, span_id}
--         now_ms    tests only
-- Returns msgpack: the fields of ClaimedLeases (sekring/store/session_contract.py)

local SESSIONS, LEASES, OWNERS, CLAIMS, EVENTS, WAITING
-- include: request audit lease vacancy wish errand

local CLAIMS_TTL_MS = 60000

return function(KEYS, ARGV)
  receive(ARGV)
  SESSIONS, LEASES, OWNERS, CLAIMS, EVENTS, WAITING = unpack(KEYS, 1, 6)
  local mark = request.id .. ' '
  local last = redis.call('HGET', CLAIMS, request.gateway)
  if last and string.sub(last, 1, #mark) == mark then return string.sub(last, #mark + 1) end

  local now = server_ms()
  local leases = {}

  -- People hear of a session whose owner fell silent.
  local function record_takeover(instance_id, from)
    append_event(EVENTS, audit_entry({
      instance_id = instance_id, action = 'takeover', at_ms = now, cause = 'lease_ran_out',
      actor = request.gateway, reason = 'its lease ran out on ' .. from,
    }, request.origin))
  end

  -- The last token of the partition, whichever session's: so a session's tokens go on growing although
  -- its record was lost, or forgotten, and although the clock was set back.
  local TOKEN = '*'
  local last_token = tonumber(redis.call('HGET', OWNERS, TOKEN) or 0)

  local function claim(instance_id)
    local was = owner_of(instance_id)
    local token = math.max(last_token + 1, was.token + 1, now)
    last_token = token
    set_owner(instance_id, {
      gateway = request.gateway, token = token, phase = 'waiting', since_ms = now, device = was.device,
    })
    redis.call('ZADD', LEASES, now + request.ttl_ms, instance_id)
    local lease = { instance_id = instance_id, token = token, errands = has_errands(instance_id, now) }
    if was.gateway ~= '' then
      lease.taken_from = was.gateway
      if was.gateway ~= request.gateway then record_takeover(instance_id, was.gateway) end
    end
    leases[#leases + 1] = lease
  end

  for _, instance_id in ipairs(redis.call('ZRANGE', LEASES, '(' .. now + LEASE_MAX_MS, '+inf', 'BYSCORE')) do
    redis.call('ZADD', LEASES, now + LEASE_MAX_MS, instance_id)
  end
  while #leases < request.limit do
    -- Whatever is found is claimed or forgotten: it is not found again.
    local found = redis.call('ZRANGE', LEASES, '-inf', now, 'BYSCORE', 'LIMIT', 0, request.limit - #leases)
    if #found == 0 then break end
    for _, instance_id in ipairs(found) do
      if is_wanted(instance_id) then claim(instance_id) else forget(instance_id) end
    end
  end

  local answer = cmsgpack.pack({ leases = leases })
  if #leases > 0 then
    redis.call('HSET', OWNERS, TOKEN, last_token)
    redis.call('HSET', CLAIMS, request.gateway, mark .. answer)
    redis.call('PEXPIRE', CLAIMS, CLAIMS_TTL_MS)
  end
  return answer
end
