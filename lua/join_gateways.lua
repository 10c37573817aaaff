#!lua
-- join_gateways: notes that a gateway lives, and tells who else does.
--
-- KEYS  1 GATEWAYS   hash    gateways as they last said; a day after the last word of any
-- ARGV  1 request, msgpack:
--         gateway
--         capacity   sessions that it takes at most
--         held       sessions that it owns
--         draining   whether it is stopping
--         devices    where it keeps its devices
--         ttl_ms     after how long without a word it is gone
--         now_ms     tests only
-- Returns msgpack: the fields of LiveGateways (sekring/store/session_contract.py)

local GATEWAYS
-- include: request gateway

local GATEWAYS_TTL_MS = 86400000

return function(KEYS, ARGV)
  receive(ARGV)
  GATEWAYS = KEYS[1]
  local now = server_ms()
  redis.call('HSET', GATEWAYS, request.gateway, cjson.encode({
    gateway = request.gateway, capacity = request.capacity, held = request.held,
    draining = request.draining or false, seen_ms = now, devices = request.devices,
  }))
  redis.call('PEXPIRE', GATEWAYS, GATEWAYS_TTL_MS)
  local live, gone = gateways_by(now)
  for _, name in ipairs(gone) do redis.call('HDEL', GATEWAYS, name) end
  return cmsgpack.pack({ gateways = live, now_ms = now })
end
