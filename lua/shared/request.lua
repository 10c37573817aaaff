-- The caller's request, and Redis' clock in ms. Only tests send now_ms.
local request

local function receive(ARGV)
  request = cmsgpack.unpack(ARGV[1])
end

local function server_ms()
  if request.now_ms then return request.now_ms end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What is under way for longer than this was held up.
local ON_THE_WAY_MS = 100

-- When that of which the request tells has happened. What was held up on the way is older than it says,
-- and perhaps older than a reset.
local function happened_at(now)
  local at = now - (request.age_ms or 0)
  if request.sent_ms and now - request.sent_ms > ON_THE_WAY_MS then at = at - (now - request.sent_ms) end
  return at
end
