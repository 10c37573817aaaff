#!lua
-- pace: takes one permit from the fleet's bucket (GCRA), or says when to ask again. While the guard
-- is closed there is no bucket. Repeated for a broken connection, it takes a second permit: no harm.
--
-- KEYS  1 GUARD      hash    the fleet guard's record; 2 days after its last change
--       2 POLICIES   hash    policies as set, field * for the fleet; never: it is configuration
-- ARGV  1 request, msgpack:
--         random     0 to 1: the refused are spread by it
--         now_ms     tests only
-- Returns msgpack: the fields of Pacing (sekring/model.py)

-- include: request policy

-- The refused are told to return so that about this many ask for each permit: the bucket stays in
-- demand without being stormed itself. No longer than the last figure, or a ramp would wait for them.
local ASKING = 4
local RETURN_MIN_MS, RETURN_MAX_MS = 1000, 60000

return function(KEYS, ARGV)
  receive(ARGV)
  local GUARD, POLICIES = KEYS[1], KEYS[2]

  local record = redis.call('HMGET', GUARD, 'state', 'rate_per_s', 'tat_ms', 'step_ms', 'granted', 'refused', 'failing')
  local state = record[1]
  if not state or state == 'closed' then
    return cmsgpack.pack({ granted = true, state = 'closed', rate_per_s = 0, retry_after_ms = 0 })
  end

  local rate = tonumber(record[2])
  local now = math.max(server_ms(), tonumber(record[4]))
  local granted, refused, failing = tonumber(record[5]) or 0, tonumber(record[6]) or 0, tonumber(record[7]) or 0
  local interval_ms = 1000 / rate
  local tat_ms = math.max(tonumber(record[3]) or 0, now)
  local burst = policy_in_force(POLICIES, '*').fleet_guard.burst
  local wait_ms = tat_ms - now - (burst - 1) * interval_ms

  local function answer(permit, retry_after_ms)
    return cmsgpack.pack({ granted = permit, state = state, rate_per_s = rate, retry_after_ms = retry_after_ms })
  end

  if wait_ms > 0 then
    redis.call('HSET', GUARD, 'refused', refused + 1)
    local return_ms = 1000 * math.max(failing, refused) / (ASKING * rate)
    return_ms = math.min(math.max(return_ms, RETURN_MIN_MS), RETURN_MAX_MS)
    return answer(false, math.ceil(wait_ms) + math.floor(return_ms * (1 + request.random) / 2))
  end
  redis.call('HSET', GUARD, 'tat_ms', tat_ms + interval_ms, 'granted', granted + 1)
  return answer(true, 0)
end
