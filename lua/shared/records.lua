-- The last hour of a partition's failures, for those who ask what another policy would have made of them, and
-- how many were counted in each minute. What is older than an hour may still be there: readers pass over it.
--
-- A record is `at_ms instance_id kind gateway why id`, the last ones empty where there is nothing to say: a
-- list of lines costs a report half of what a stream does. In the order in which they came.

local MINUTE_MS = 60000
-- A record takes about 50 bytes, one that was not counted about 75.
local RECORDS_MAX = 4000
local RECORDS_STEP = 128
-- Of what is reported while open, in each opening: a storm must not drive the others out.
local WHILE_OPEN_MAX = 64
-- Set with the first failure counted in a minute, which may itself be an hour old.
local RECORDS_TTL_MS = 2 * HOUR_MS

local function append(at, kind, gateway, rest)
  -- `%d`: Lua by itself writes every number as a fraction, and takes three times as long.
  local line = string.format('%d', at) .. ' ' .. request.instance_id .. ' ' .. kind .. ' ' .. gateway .. rest
  local length = redis.call('RPUSH', RECORDS, line)
  if length >= RECORDS_MAX + RECORDS_STEP then redis.call('LTRIM', RECORDS, -RECORDS_MAX, -1) end
end

-- Once a minute: minutes older than an hour go, and the keys live on.
local function tidy()
  local first = math.floor((now - HOUR_MS) / MINUTE_MS)
  for _, minute in ipairs(redis.call('HKEYS', MINUTES)) do
    if tonumber(minute) < first then redis.call('HDEL', MINUTES, minute) end
  end
  redis.call('PEXPIRE', RECORDS, RECORDS_TTL_MS)
  redis.call('PEXPIRE', MINUTES, RECORDS_TTL_MS)
end

-- A failure that was counted, in the minute in which it happened. While an operator has switched the breaker
-- off it cannot trip by any policy.
local function keep_counted(at)
  if at <= now - HOUR_MS then return end
  append(at, request.kind, request.gateway or '', s.state == 'disabled' and ' disabled' or '')
  if redis.call('HINCRBY', MINUTES, (at - at % MINUTE_MS) / MINUTE_MS, 1) == 1 then tidy() end
end

-- One that was not counted, though by another policy it might have been. Nobody remembers its report, so the
-- id goes with it: a repeated one is known by that.
local function keep_uncounted(at, why)
  if at <= now - HOUR_MS then return end
  append(at, request.kind, request.gateway or '', ' ' .. why .. ' ' .. request.id)
  redis.call('PEXPIRE', RECORDS, RECORDS_TTL_MS)
end

-- One more was reported while open, and suppressed. What holds it open by any policy makes all of them void.
local function keep_suppressed(at)
  if FAILED[s.cause] and s.suppressed <= WHILE_OPEN_MAX then keep_uncounted(at, 'open') end
end

-- By no policy do the failures until then count any longer. Only where there may be some on record: a reset of
-- the whole fleet would drive all failures out of it.
local function keep_cleared(at)
  append(at, '', '', ' cleared')
  redis.call('PEXPIRE', RECORDS, RECORDS_TTL_MS)
end
