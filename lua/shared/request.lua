-- The caller's request, and Redis' clock in ms. Only tests send now_ms.
local request = cmsgpack.unpack(ARGV[1])

local function server_ms()
  if request.now_ms then return request.now_ms end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
