#!lua
-- offer: a trip that Redis may lack (made by a replica alone, or lost in a failover), unless the fleet has gone on.
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
--         epoch       the highest that the replica's view had seen: whatever came later goes first
--         cause       failures, probe_failed, or the kind of a failure that opens by itself
--         for_ms      what is left of the cooldown; without it, until a person acts
--         made_epoch  said again, since Redis may have lost it: the epoch that it brought about then
--         origin      {actor, reason, source, trace_id, span_id}
--         now_ms      tests only
-- Returns msgpack: the fields of Forced (sekring/requests.py), and the
--         transitions that it has made (Made, sekring/store/contract.py)

-- include: request audit announce policy keys instance machine registry

-- What is recorded of a trip that is not for the count's sake.
local ACTIONS = {
  temporary_ban = 'ban', conflict = 'conflict',
  logged_out = 'permanent', locked = 'permanent', banned = 'permanent',
}

return function(KEYS, ARGV)
  receive(ARGV)
  begin(KEYS, true)
  settle()
  local was = s.state
  -- What is said again may find any state that is older.
  local may_open = was == 'closed' or was == 'half_open' or request.made_epoch and was ~= 'disabled'
  if may_open and s.epoch <= request.epoch then
    local action = ACTIONS[request.cause] or 'trip'
    local until_ms = request.for_ms and now + request.for_ms or 0
    touch()
    if action == 'permanent' then s.terminal = request.cause end
    if action == 'ban' then s.ban_until_ms = math.max(s.ban_until_ms, until_ms) end
    open(action, request.cause, until_ms, now)
  end
  save()
  return reply({
    instance_id = request.instance_id, was = was, state = s.state, epoch = s.epoch, remaining_ms = remaining(),
  })
end
