-- The gateways that were seen within the time of a lease; of the others, the names.
local function gateways_by(now)
  local live, gone = {}, {}
  local flat = redis.call('HGETALL', GATEWAYS)
  for i = 1, #flat, 2 do
    local gateway = cjson.decode(flat[i + 1])
    if gateway.seen_ms > now - request.ttl_ms then
      live[#live + 1] = gateway
    else
      gone[#gone + 1] = flat[i]
    end
  end
  return live, gone
end
