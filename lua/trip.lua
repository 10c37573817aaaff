#!lua
-- trip: an operator forces the breaker open, until a time or until a reset.
--
-- KEYS  1 INSTANCE   string  the record; 4 days after its last use (a year more where it is held)
--       2 PARTITION  none    what the names of the partition's keys begin with, those below; never a key itself
--         FAILURES   zset    counted report ids by time (ms / 16); as INSTANCE
--         SEEN       zset    report ids that stay duplicates; a window after a trip or reset
--         PROBES     zset    attempts in flight by deadline (ms); as the latest deadline
--         PROVING    zset    connected probes by the time of their credit (ms); as INSTANCE
--         REPORTERS  zset    gateways by their latest failure (ms); a window
--         HISTORY    stream  the instance's last 100 transitions; 7 days after the last
--         POLICIES   hash    policies as set, field * for the fleet; never: it is configuration
--         TOTALS     hash    sums over the partition's instances; 2 days after the last use of any
--         INDEX      zset    all:ID and STATE:ID, in the order of ids; as TOTALS
--         DUE        zset    instances by when time alone changes them (ms); as TOTALS
--         EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
--         VIEW       hash    instances that are not plainly closed, as replicas see them; as TOTALS
-- ARGV  1 request, msgpack:
--         instance_id
--         for_ms      how long; without it, until a reset
--         made_epoch  said again, since Redis may have lost it: the epoch that it brought about then
--         origin      {actor, reason, source, trace_id, span_id}
--         now_ms      tests only
-- Returns msgpack: the fields of Forced (sekring/requests.py), and the
--         transitions that it has made (Made, sekring/store/contract.py)

-- include: request audit announce policy keys instance machine registry

return function(KEYS, ARGV)
  receive(ARGV)
  begin(KEYS, true)
  settle()
  local was = s.state
  if not is_outdated() then
    remember(counted_ids(), now)
    drop_probes()
    s.state = 'forced_open'
    s.cause = 'operator'
    s.reason = caller().reason or ''
    s.opened_ms = now
    s.until_ms = request.for_ms and now + request.for_ms or 0
    s.suppressed = 0
    bump_epoch(now)
    touch()
    record('force_open', was, now)
  end
  save()
  return reply({
    instance_id = request.instance_id, was = was, state = s.state, epoch = s.epoch, remaining_ms = remaining(),
  })
end
