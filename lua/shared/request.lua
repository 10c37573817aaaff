-- The caller's request, and Redis' clock in ms. Only tests send now_ms.
local request = {}

local function receive(ARGV)
  request = cmsgpack.unpack(ARGV[1])
end

-- What gateways send all the time comes as an array of up to 15 values, which takes half the time of a map. The
-- last is the origin, which few calls need: it stays packed until one does.
local packed_request, origin_at

local function receive_values(ARGV, count)
  packed_request = ARGV[1]
  return cmsgpack.unpack_limit(packed_request, count - 1, 1)
end

local NOBODY = {}

-- Who asks.
local function caller()
  if origin_at then
    local _, origin = cmsgpack.unpack_one(packed_request, origin_at)
    request.origin, origin_at = origin, nil
  end
  return request.origin or NOBODY
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
