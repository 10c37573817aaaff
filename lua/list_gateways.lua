#!lua flags=no-writes
-- list_gateways: which gateways live. Changes nothing.
--
-- KEYS  1 GATEWAYS   hash    gateways as they last said; a day after the last word of any
-- ARGV  1 request, msgpack:
--         ttl_ms   after how long without a word one is gone
--         now_ms   tests only
-- Returns msgpack: the fields of LiveGateways (sekring/store/session_contract.py)

local GATEWAYS
-- include: request gateway

return function(KEYS, ARGV)
  receive(ARGV)
  GATEWAYS = KEYS[1]
  local now = server_ms()
  local live = gateways_by(now)
  return cmsgpack.pack({ gateways = live, now_ms = now })
end
