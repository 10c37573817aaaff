#!lua
-- post_errand: asks the owner of a session to do something, whoever owns it until the errand expires.
--
-- KEYS  1 LEASES   zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       2 OWNERS   hash    owner and phase of sessions, field * the last token; never: tokens must go on growing
--       3 ERRANDS  list    what a session's owner is asked to do; until the last of it expires
--       4 WAITING  zset    sessions with errands, by when the last one expires (ms); until then
--       5 ANSWER   string  what came of an errand, empty until then; until nobody waits any longer
--       6 TOTALS   hash    sums over the partition's instances; 2 days after the last use of any
--       7 VIEW     hash    instances that are not plainly closed, as replicas see them; as TOTALS
-- ARGV  1 request, msgpack:
--         instance_id
--         id        the errand's own
--         kind
--         body      what it takes, sealed; empty if nothing
--         ttl_ms    nobody waits for it any longer then
--         awaited   somebody waits for its answer
--         limit     errands of one session at most
--         now_ms    tests only
-- Returns msgpack: the fields of ErrandPosted (sekring/store/errand_contract.py)

local LEASES, OWNERS, ERRANDS, WAITING, ANSWER, TOTALS, VIEW
-- include: request announce lease

return function(KEYS, ARGV)
  receive(ARGV)
  LEASES, OWNERS, ERRANDS, WAITING, ANSWER, TOTALS, VIEW = unpack(KEYS, 1, 7)
  local now = server_ms()
  local gateway = lasts(request.instance_id, now) and owner_of(request.instance_id).gateway or ''

  local function posted(queued)
    return cmsgpack.pack({ queued = queued, gateway = gateway })
  end

  -- Said again, since the answer was lost.
  if request.awaited and redis.call('EXISTS', ANSWER) == 1 then return posted(true) end

  for _, item in ipairs(redis.call('LRANGE', ERRANDS, 0, -1)) do
    local waiting = cjson.decode(item)
    -- Of what nobody waits for, one of a kind is enough.
    local same = not request.awaited and waiting.kind == request.kind
    if same or waiting.expires_ms <= now then redis.call('LREM', ERRANDS, 1, item) end
  end
  if redis.call('LLEN', ERRANDS) >= request.limit then return posted(false) end

  local expires_ms = now + request.ttl_ms
  redis.call('RPUSH', ERRANDS, cjson.encode({
    id = request.id, kind = request.kind, body = request.body or '', expires_ms = expires_ms,
  }))
  redis.call('PEXPIRE', ERRANDS, math.max(request.ttl_ms, redis.call('PTTL', ERRANDS)))
  redis.call('ZADD', WAITING, 'GT', expires_ms, request.instance_id)
  redis.call('PEXPIRE', WAITING, math.max(request.ttl_ms, redis.call('PTTL', WAITING)))
  if request.awaited then redis.call('SET', ANSWER, '', 'PX', request.ttl_ms) end
  if gateway ~= '' then announce(TOTALS, VIEW, { bell = 'errand:' .. gateway, about = request.instance_id }) end
  return posted(true)
end
