-- load.lua: the requests that wrk sends to the breaker service, or to the route that does nothing.
--
--   wrk ... -s load.lua URL -- KIND TOKEN FIRST THINK_MS
--     KIND      what is sent: a key of `kinds` below
--     TOKEN     API token
--     FIRST     number of the first request; each takes the next, so that no two runs say the same
--     THINK_MS  mean pause of a connection between an answer and its next request; 0: none
--
-- Prints one line `LOAD {...}` with what came of it. One thread: each has a state of its own.

-- A failure as gateways tell it. Numbers have leading zeros: all requests of a kind are equally long.
local FAILURE = '"outcome":"failure","kind":"websocket","gateway":"gateway-2",'
  .. '"detail":"websocket: close 1006 (abnormal closure)","id":"load-%010d"'

-- Reports go round so many instances, and then to as many others: each stays below its threshold of 15.
local INSTANCES, FAILURES = 20000, 14
local BATCH = 100
-- As many are open, from number 0 on.
local OPEN = 200

local token, number, think_ms, build

local function post(path, body)
  return 'POST ' .. path .. ' HTTP/1.1\r\nHost: ' .. wrk.host .. '\r\nAuthorization: Bearer ' .. token
    .. '\r\nContent-Type: application/json\r\nContent-Length: ' .. #body .. '\r\n\r\n' .. body
end

local function failing(n)
  local block = math.floor(n / (INSTANCES * FAILURES))
  return string.format('62812%09d', block * INSTANCES + n % INSTANCES)
end

local function batch_of(instance_of, n)
  local items = {}
  for i = 1, BATCH do
    local report = n * BATCH + i - 1
    items[i] = '{"instance_id":"' .. instance_of(report) .. '",' .. FAILURE:format(report) .. '}'
  end
  return post('/v1/outcomes', '{"outcomes":[' .. table.concat(items, ',') .. ']}')
end

-- What a gateway may say of itself; one whose token has its name need not.
local ASKING = '{"gateway":"gateway-2"}'

local kinds = {
  noop = function()
    return post('/noop', '')
  end,
  noop_body = function()
    return post('/noop', ASKING)
  end,
  permit_open = function(n)
    return post(string.format('/v1/instances/62810%09d/attempts', n % OPEN), '')
  end,
  permit_open_body = function(n)
    return post(string.format('/v1/instances/62810%09d/attempts', n % OPEN), ASKING)
  end,
  -- Each another instance: one that was permitted has an attempt under way and is no longer plainly closed.
  permit_closed = function(n)
    return post(string.format('/v1/instances/62811%09d/attempts', n), '')
  end,
  report = function(n)
    return post('/v1/instances/' .. failing(n) .. '/outcomes', '{' .. FAILURE:format(n) .. '}')
  end,
  batch = function(n)
    return batch_of(failing, n)
  end,
  -- Each report the first of its instance: what redis-benchmark can send as well.
  batch_fresh = function(n)
    return batch_of(function(report) return string.format('%012d', report) end, n)
  end,
}

function init(args)
  build = kinds[args[1]]
  if not build then error('no such kind of load: ' .. tostring(args[1])) end
  token, number, think_ms = args[2], tonumber(args[3]) - 1, tonumber(args[4])
  if think_ms == 0 then delay = nil end
end

function request()
  number = number + 1
  return build(number)
end

-- As long as a stranger's next call takes to come: exponential, so that arrivals come in bursts too.
function delay()
  return math.floor(-math.log(1 - math.random()) * think_ms + 0.5)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'LOAD {"requests":%d,"seconds":%.6f,"errors":%d,"p50_ms":%.3f,"p99_ms":%.3f,"worst_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
