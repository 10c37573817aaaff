-- The state machine: what time alone does (`settle`), and the transitions that the verbs share.

-- A failure's score is its time in sixteenths of a millisecond; which of them says its kind. So the kind costs no
-- memory, a window is a range of scores, and a score is an integer, of which a small set takes 10 bytes: a
-- fraction would be kept in words.
local SIXTEENTHS = 16
local KINDS = {
  'dns', 'refused', 'timeout', 'tls', 'websocket', 'handshake', 'proxy', 'stream_error',
  'disconnected', 'worker_crash', 'unknown', 'upstream',
}
local PLACES = {}
for place, kind in ipairs(KINDS) do PLACES[kind] = place - 1 end

-- The least score of its time.
local function score_from(at)
  return at * SIXTEENTHS
end

local function score_of(at, kind)
  return score_from(at) + PLACES[kind]
end

local function kind_of(score)
  return KINDS[score % SIXTEENTHS + 1]
end

local function time_of(score)
  return math.floor(score / SIXTEENTHS)
end

local NEVER = math.huge

-- The highest epoch in the partition.
local function partition_epoch()
  return tonumber(redis.call('HGET', TOTALS, 'epoch')) or 0
end

-- A time rather than a count: it keeps growing even if the record was lost in between. Where somebody
-- acts, it is also above every other of the partition: an attempt that a replica permitted from its
-- view carries the highest epoch which that view had seen, and is older than this. (What the clock
-- does never ends `closed`, the one state in which a view permits.) What is said again has the epoch
-- of the first time, so that it stays older than what came after it.
local function bump_epoch(at)
  if request.made_epoch and not by_clock then
    s.epoch = request.made_epoch
    return
  end
  s.epoch = math.max(s.epoch + 1, at)
  if not by_clock then s.epoch = math.max(s.epoch, partition_epoch() + 1) end
end

local function oldest_failure()
  local first = redis.call('ZRANGE', FAILURES, 0, 0, 'WITHSCORES')
  return first[2] and time_of(first[2]) or 0
end

-- Drops the failures that have left the window by `at`.
local function trim(at)
  local start = at - policy.window_ms + 1
  if s.failures == 0 or s.oldest_ms >= start then return end
  if writing then
    local dropped = redis.call('ZREMRANGEBYSCORE', FAILURES, '-inf', '(' .. score_from(start))
    s.oldest_ms = oldest_failure()
    s.failures = s.oldest_ms > 0 and s.failures - dropped or 0
  else
    s.failures = redis.call('ZCOUNT', FAILURES, score_from(start), '+inf')
  end
end

-- Keeps report ids as duplicates for a whole window from `at` on.
local function remember(ids, at)
  if not writing or #ids == 0 then return end
  redis.call('ZREMRANGEBYSCORE', own('seen'), '-inf', at - policy.window_ms)
  for first = 1, #ids, 1000 do
    local members = {}
    for i = first, math.min(first + 999, #ids) do
      members[#members + 1] = at
      members[#members + 1] = ids[i]
    end
    redis.call('ZADD', own('seen'), unpack(members))
  end
  redis.call('ZREMRANGEBYRANK', own('seen'), 0, -(4 * policy.failure_threshold + 1))
  s.seen_until_ms = math.max(s.seen_until_ms, at + policy.window_ms)
  redis.call('PEXPIRE', own('seen'), s.seen_until_ms - now + HOUR_MS)
end

local function counted_ids()
  return s.failures > 0 and redis.call('ZRANGE', FAILURES, 0, -1) or {}
end

local function drop_failures()
  write('DEL', FAILURES, own('reporters'))
  s.failures = 0
  s.oldest_ms = 0
end

local function drop_probes()
  write('DEL', own('probes'), own('proving'))
end

-- Opens, or opens anew with another cause and end.
local function open(action, cause, until_ms, at)
  local before = s.state
  remember(counted_ids(), at)
  drop_probes()
  s.state = 'open'
  s.cause = cause
  s.reason = ''
  s.opened_ms = at
  s.until_ms = until_ms
  s.suppressed = 0
  bump_epoch(at)
  record(action, before, at)
end

local function close(action, at)
  local before = s.state
  drop_probes()
  s.state = 'closed'
  s.until_ms = 0
  s.opened_ms = 0
  s.suppressed = 0
  s.closed_ms = at
  record(action, before, at)
  s.cause = ''
  s.reason = ''
end

-- The end of a cooldown: the counters start anew.
local function recover(at)
  drop_failures()
  s.attempts = 0
  bump_epoch(at)
  s.touched_ms = math.max(s.touched_ms, at)
  if policy.probes == 0 then return close('recover', at) end
  local before = s.state
  s.state = 'half_open'
  s.until_ms = 0
  record('half_open', before, at)
end

-- What still holds the instance when an operator's own state ends.
local function held_by()
  if s.terminal ~= '' then return s.terminal, 0 end
  if s.ban_until_ms > s.until_ms then return 'temporary_ban', s.ban_until_ms end
end

local function end_state(at)
  local cause, until_ms = held_by()
  if s.state ~= 'open' and cause then
    open(cause == 'temporary_ban' and 'ban' or 'permanent', cause, until_ms, at)
  elseif s.state == 'disabled' then
    close('enable', at)
  else
    recover(at)
  end
end

local function connect(connection, since)
  s.connection = connection
  s.connection_ms = since
  s.proven = 0
end

local function end_connection()
  connect('', 0)
end

-- A connection is a success once it has been stable.
local function credit_connection(at)
  s.proven = 1
  s.attempts = 0
  if policy.success_clears and s.state == 'closed' then
    remember(counted_ids(), at)
    drop_failures()
  end
end

local function probe_successes()
  return redis.call('ZCOUNT', own('proving'), '-inf', now)
end

local function probes_in_flight()
  local unproven = redis.call('ZCOUNT', own('proving'), '(' .. now, '+inf')
  return redis.call('ZCOUNT', own('probes'), '(' .. now, '+inf') + unproven
end

-- The first attempt of PROBES or PROVING whose time is still to come, and that time.
local function next_slot(key)
  local first = redis.call('ZRANGE', key, '(' .. now, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  return first[1], tonumber(first[2])
end

-- When the last of the needed probe successes is credited; never while some are missing.
local function all_proven_ms()
  if policy.probes == 0 then return now end
  local last = redis.call('ZRANGE', own('proving'), policy.probes - 1, policy.probes - 1, 'WITHSCORES')
  return tonumber(last[2]) or NEVER
end

local function end_probing(at)
  close('close', at)
end

-- Nothing is left of an instance that was silent for a day.
local function fade()
  write('DEL', FAILURES, own('seen'), own('probes'), own('proving'), own('reporters'))
  forget_record()
end

-- What time alone does next, and when.
local function next_change()
  local state, touched_ms, until_ms, connection = s.state, s.touched_ms, s.until_ms, s.connection
  local at, change = NEVER, nil
  if connection == 'connecting' then
    at, change = s.attempt_until_ms, end_connection
  elseif connection == 'connected' and s.proven == 0 then
    at, change = s.connection_ms + policy.stable_after_ms, credit_connection
  end
  if until_ms > 0 and until_ms < at then at, change = until_ms, end_state end
  if state == 'half_open' and all_proven_ms() < at then at, change = all_proven_ms(), end_probing end
  if (state == 'closed' or state == 'half_open') and touched_ms > 0 and touched_ms + SILENCE_MS < at then
    at, change = touched_ms + SILENCE_MS, fade
  end
  return at, change
end

-- Applies everything that time has changed since the last use, one thing after the other. When that
-- is done makes no difference: each is dated by its own time, though not before the last use.
local function settle()
  local at, change = next_change()
  by_clock = true
  while at <= now do
    at = math.max(at, s.touched_ms)
    trim(at)
    change(at)
    at, change = next_change()
  end
  trim(now)
  if s.state == 'half_open' then write('ZREMRANGEBYSCORE', own('probes'), '-inf', now) end
  by_clock = false
end

local function touch()
  s.touched_ms = now
end

-- Whether what is said again was not lost, or something later has happened.
local function is_outdated()
  return request.made_epoch and s.epoch >= request.made_epoch
end

-- Time left until the state ends by itself, in ms; nil if only a person can end it.
local function remaining()
  if s.until_ms > 0 then return s.until_ms - now end
end

-- The recommended wait before the next attempt, in ms. A failure of unknown kind waits the longest.
local function backoff_ms()
  local tries = s.attempts > s.failures and s.attempts or s.failures
  if tries == 0 then return 0 end
  local backoff = policy.backoff
  local wait = backoff.cap_ms
  if s.last_kind ~= 'unknown' then
    local grown = backoff.base_ms * backoff.factor ^ (tries < 65 and tries - 1 or 64)
    if grown < wait then wait = grown end
  end
  return math.floor(wait * (1 - backoff.jitter * (request.random or 0)))
end
