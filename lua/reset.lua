#!lua
-- reset: an operator, or a request for a QR code, closes the breaker at once and clears its counters.
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
--         RECORDS    list    the partition's failures of the last hour, the latest 4,000; 2 hours
--         MINUTES    hash    failures counted in the last hour, by minute since 1970; 2 hours
-- ARGV  1 request, msgpack:
--         instance_id
--         only_state  reset only if the breaker is in this state
--         force       lift a ban as well
--         made_epoch  said again, since Redis may have lost it: the epoch that it brought about then
--         origin      {actor, reason, source, trace_id, span_id}
--         now_ms      tests only
-- Returns msgpack: the fields of ResetDone (sekring/requests.py), and the
--         transitions that it has made (Made, sekring/store/contract.py)

-- include: request audit announce policy keys instance machine registry records

return function(KEYS, ARGV)
  receive(ARGV)
  begin(KEYS, true)
  settle()
  local was = s.state
  local known = s.registered_ms > 0

  local function answer(done, banned)
    save()
    return reply({
      instance_id = request.instance_id, known = known, was = was, state = s.state, epoch = s.epoch,
      done = done, banned = banned or false, ban_remaining_ms = math.max(0, s.ban_until_ms - now),
    })
  end

  if is_outdated() then return answer(false) end
  local applies = request.made_epoch or known and (request.only_state or was) == was
  if not applies then return answer(false) end
  local banned = s.terminal == 'banned' or s.ban_until_ms > now
  if banned and not request.force then return answer(false, true) end

  remember(counted_ids(), now)
  if s.last_failure_ms > now - HOUR_MS then keep_cleared(request.made_epoch or now) end
  if request.made_epoch then
    -- What was counted after it stays.
    local later = '(' .. score_from(request.made_epoch + 1)
    s.failures = s.failures - redis.call('ZREMRANGEBYSCORE', FAILURES, '-inf', later)
    s.oldest_ms = oldest_failure()
  else
    drop_failures()
  end
  s.attempts = 0
  s.level = 0
  s.terminal = ''
  s.ban_until_ms = 0
  bump_epoch(now)
  close('reset', now)
  touch()
  return answer(true)
end
