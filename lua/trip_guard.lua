#!lua
-- trip_guard: an operator opens the fleet guard, for a time or until a reset. Then the ramp begins.
--
-- KEYS  1 GUARD      hash    the fleet guard's record; 2 days after its last change
--       2 POLICIES   hash    policies as set, field * for the fleet; never: it is configuration
--       3 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--       4 HISTORY    stream  the guard's last 100 transitions; 7 days after the last
-- ARGV  1 request, msgpack:
--         for_ms     how long; without it, until a reset
--         origin     {actor, reason, source, trace_id, span_id}
--         now_ms     tests only
-- Returns msgpack: the fields of GuardChange (sekring/store/contract.py), and the
--         transitions that it has made (Made, sekring/store/contract.py)

-- include: request audit policy guard

return function(KEYS, ARGV)
  begin(KEYS, ARGV)
  local origin = request.origin or {}
  g.cause = 'operator'
  g.reason = origin.reason or ''
  g.until_ms = request.for_ms and now + request.for_ms or 0
  change('guard_force_open', 'forced_open', settings.rate_per_s, origin)
  begin_step(g.connected, g.failing)
  save()
  return answer()
end
