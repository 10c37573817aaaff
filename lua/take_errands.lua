#!lua
-- take_errands: hands the errands of a session to the gateway that owns it now, each once.
--
-- KEYS  1 LEASES   zset    wanted or owned sessions by when their lease ends (ms); never: it goes with SESSIONS
--       2 OWNERS   hash    owner and phase of sessions, field * the last token; never: tokens must go on growing
--       3 ERRANDS  list    what a session's owner is asked to do; until the last of it expires
--       4 WAITING  zset    sessions with errands, by when the last one expires (ms); until then
--       5 TAKEN    string  what was handed out last, in case that the answer was lost; a minute
-- ARGV  1 request, msgpack:
--         instance_id
--         gateway
--         id        names this call: said again, it is answered the same
--         now_ms    tests only
-- Returns msgpack: the fields of ErrandsTaken (sekring/store/errand_contract.py)

local LEASES, OWNERS, ERRANDS, WAITING, TAKEN
-- include: request lease

local TAKEN_TTL_MS = 60000

return function(KEYS, ARGV)
  receive(ARGV)
  LEASES, OWNERS, ERRANDS, WAITING, TAKEN = unpack(KEYS, 1, 5)
  local now = server_ms()

  local function taken(items)
    local errands = {}
    for _, item in ipairs(items) do
      local errand = cjson.decode(item)
      if errand.expires_ms > now then
        errand.expires_in_ms = errand.expires_ms - now
        errand.expires_ms = nil
        errands[#errands + 1] = errand
      end
    end
    return cmsgpack.pack({ errands = errands })
  end

  local last = redis.call('GET', TAKEN)
  if last then
    last = cjson.decode(last)
    if last.id == request.id then return taken(last.items) end
  end
  local owner = owner_of(request.instance_id)
  if owner.gateway ~= request.gateway or not lasts(request.instance_id, now) then return taken({}) end
  local items = redis.call('LRANGE', ERRANDS, 0, -1)
  redis.call('ZREM', WAITING, request.instance_id)
  if #items > 0 then
    redis.call('DEL', ERRANDS)
    redis.call('SET', TAKEN, cjson.encode({ id = request.id, items = items }), 'PX', TAKEN_TTL_MS)
  end
  return taken(items)
end
