#!lua
-- reset_guard: an operator closes the fleet guard at once. The failures that the window holds now do
-- not open it again: it stays closed until few fail, or for a window.
--
-- KEYS  1 GUARD      hash    the fleet guard's record; 2 days after its last change
--       2 POLICIES   hash    policies as set, field * for the fleet; never: it is configuration
--       3 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--       4 HISTORY    stream  the guard's last 100 transitions; 7 days after the last
-- ARGV  1 request, msgpack:
--         origin     {actor, reason, source, trace_id, span_id}
--         now_ms     tests only
-- Returns msgpack: the fields of GuardChange (sekring/store/contract.py), and the
--         transitions that it has made (Made, sekring/store/contract.py)

-- include: request audit policy guard

return function(KEYS, ARGV)
  begin(KEYS, ARGV)
  if g.state ~= 'closed' then
    close('guard_reset', request.origin)
    g.until_ms = now + policy.window_ms
  end
  save()
  return answer()
end
