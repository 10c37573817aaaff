#!lua
-- guard: evaluates the fleet guard on the fleet's sums: opens it, moves the ramp a step, closes it.
--
-- Any number of replicas may evaluate at once: the first one at or after a step's end judges the
-- step, and one that finds it judged already changes nothing.
--
-- KEYS  1 GUARD      hash    the fleet guard's record; 2 days after its last change
--       2 POLICIES   hash    policies as set, field * for the fleet; never: it is configuration
--       3 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--       4 HISTORY    stream  the guard's last 100 transitions; 7 days after the last
-- ARGV  1 request, msgpack:
--         failing    instances that fail now (see FleetTotals)
--         connected  instances that are connected now
--         now_ms     tests only
-- Returns msgpack: the fields of GuardChange (sekring/store/contract.py), and the
--         transitions that it has made (Made, sekring/store/contract.py)

-- include: request audit policy guard

-- Few fail once this part of the policy's share is passed on the way down: at the threshold itself
-- the guard would open and close by turns.
local RECOVERED = 0.8
-- A permit of this step, or of one shortly before, should have become a connection. So many of them
-- that did are good; as many are fair, if they are clearly more than at a lower rate.
local GOOD = 0.75
local FAIR = 0.25
local GREW = 1.5

return function(KEYS, ARGV)
  begin(KEYS, ARGV)
  -- What is neither failing nor connected says nothing: it is idle, or needs a person.
  local telling = request.failing + request.connected

  local function is_outage()
    return request.failing > 0 and telling >= settings.min_instances and request.failing >= settings.share * telling
  end

  local function is_recovered()
    return request.failing == 0 or request.failing < RECOVERED * settings.share * telling
  end

  -- While it is closed: opens at an outage. A reset has the failures that it knew of pass first.
  local function watch()
    if g.until_ms > 0 and (now >= g.until_ms or is_recovered()) then g.until_ms = 0 end
    if g.until_ms > 0 or not is_outage() then return end
    g.cause = 'failures'
    change('guard_trip', 'open', settings.rate_per_s)
    begin_step(request.connected, request.failing)
  end

  -- The end of a step. The share of failing instances alone would not do: in a long outage those that
  -- wait for a permit leave the window, as if they were well. What counts is what permits lead to.
  local function judge()
    local base = settings.rate_per_s
    local rate = g.state == 'half_open' and math.max(g.rate_per_s, base) or base
    local gained = request.connected - g.connected
    local binding = g.refused > 0
    local good = g.granted > 0 and gained >= GOOD * g.granted
    local better = g.granted > 0 and gained >= FAIR * g.granted and gained >= GREW * g.reached
    local poor = g.granted > 0 and gained < FAIR * g.granted
    local calm = not binding and is_recovered()
    if not calm then
      g.calm_ms = 0
    elseif g.calm_ms == 0 then
      g.calm_ms = g.step_ms
    end
    if g.state == 'forced_open' then
      set_rate(rate)
    elseif calm and (g.state == 'half_open' or now - g.calm_ms >= policy.window_ms) then
      return close('guard_recover')
    elseif (good or better) and (binding or g.state == 'open') then
      g.reached = gained
      change('guard_ramp', 'half_open', binding and rate * settings.ramp_factor or rate)
    elseif poor and binding and g.state == 'half_open' then
      if gained <= 0 or rate == base then
        g.cause = 'failures'
        g.reason = ''
        g.reached = 0
        change('guard_trip', 'open', base)
      else
        change('guard_ramp', 'half_open', math.max(base, rate / settings.ramp_factor))
      end
    elseif rate ~= g.rate_per_s then -- the policy has another first rate
      set_rate(rate)
    end
    begin_step(request.connected, request.failing)
  end

  if g.state == 'closed' then
    if settings.enabled then watch() end
  elseif not settings.enabled and g.state ~= 'forced_open' then
    g.cause = 'policy'
    close('guard_recover')
  elseif g.state == 'forced_open' and g.until_ms > 0 and now >= g.until_ms then
    g.until_ms = 0
    change('guard_ramp', 'half_open', settings.rate_per_s)
    begin_step(request.connected, request.failing)
  elseif now - g.step_ms >= settings.ramp_step_ms then
    judge()
  end
  save()
  return answer()
end
