#!lua
-- report: how an attempt, or a live connection, ended. Counts, trips, closes, re-opens.
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
-- ARGV  1 request, msgpack array:
--         now_ms       tests only
--         instance_id
--         id           the report's id: a repeated report counts once
--         outcome      failure, success or disconnected
--         effect       of a failure: count, terminal, ban, build, conflict or ignore
--         kind         of a failure
--         detail       of a failure: what the gateway's library said
--         attempt_id   the attempt that ended, if the gateway asked for a permit
--         epoch        under which it was permitted, if known
--         age_ms       how long ago it happened
--         ban_ms       how long a ban lasts from then on
--         gateway      who reports, for the quorum of distinct reporters
--         sent_ms      when it was sent, at the latest, by Redis' clock as its sender knows it
--         random       0 to 1, for the jitter
--         origin       {actor, reason, source, trace_id, span_id}
-- Returns msgpack array: the fields of ReportReply (sekring/store/replies.py)

-- include: request audit announce policy keys instance machine registry records

local function unpack_request(ARGV)
  origin_at, request.now_ms, request.instance_id, request.id, request.outcome, request.effect, request.kind,
    request.detail, request.attempt_id, request.epoch, request.age_ms, request.ban_ms, request.gateway,
    request.sent_ms, request.random
    = receive_values(ARGV, 15)
end

-- A grown cooldown, and a ban's end, are moved by chance so that many do not return at once.
local COOLDOWN_JITTER = 0.1
local BAN_JITTER = 0.05
local BAN_JITTER_MAX_MS = 600000
local CONFLICT_MIN_MS, CONFLICT_MAX_MS = 30000, 90000

local random -- 0 to 1
local at -- when it happened

local function answer(why, tripped)
  save()
  local retry_after_ms
  if refuses(s) then
    retry_after_ms = remaining()
  else
    retry_after_ms = backoff_ms()
  end
  return cmsgpack.pack({
    why, s.state, s.failures, policy.failure_threshold, retries(s), tripped or false, s.epoch,
    transitions or NO_TRANSITIONS, retry_after_ms,
  })
end

-- An epoch above ours is one that we lost: the report is not late, our record is.
local function is_late()
  if request.epoch then return request.epoch < s.epoch end
  return at < now and at < s.epoch
end

local function is_seen()
  return s.seen_until_ms > now and redis.call('ZSCORE', own('seen'), request.id)
end

local function is_in_window()
  return s.failures > 0 and redis.call('ZSCORE', FAILURES, request.id)
end

-- Why a failure of a kind that counts is not counted; nil if it is.
local function why_uncounted()
  if refuses(s) then return 'open' end
  if policy.weights[request.kind] == 0 then return 'ignored' end
  if at <= now - policy.window_ms then return 'stale' end
end

-- Whether it is about the present connection. What happened before that began is not; but whoever names
-- the attempt under way speaks of it, whatever the ages of what was on its way for long seem to say.
local function is_present()
  if at >= s.connection_ms then return true end
  local token = '-' .. s.attempt
  return s.attempt ~= '' and request.attempt_id and string.sub(request.attempt_id, -#token) == token
end

-- Gives back the probe slot of the attempt, or without an attempt's id the oldest.
local function release_slot()
  if s.state ~= 'half_open' then return end
  local attempt_id = request.attempt_id or next_slot(own('probes')) or next_slot(own('proving'))
  if not attempt_id then return end
  redis.call('ZREM', own('probes'), attempt_id)
  local credit_ms = tonumber(redis.call('ZSCORE', own('proving'), attempt_id))
  if credit_ms and credit_ms > now then redis.call('ZREM', own('proving'), attempt_id) end
end

-- It was paired anew: nothing terminal is left.
local function lift_terminal()
  s.terminal = ''
  if s.state ~= 'open' then return end
  if s.ban_until_ms > now then
    open('ban', 'temporary_ban', s.ban_until_ms, now)
  else
    close('close', now)
  end
end

local function succeed()
  if s.terminal ~= '' then lift_terminal() end
  if s.state == 'half_open' then
    blame()
    local attempt_id = request.attempt_id or next_slot(own('probes')) or request.id
    redis.call('ZREM', own('probes'), attempt_id)
    if redis.call('ZCOUNT', own('proving'), '(' .. now, '+inf') < policy.probes then
      redis.call('ZADD', own('proving'), 'NX', at + policy.stable_after_ms, attempt_id)
      redis.call('PEXPIRE', own('proving'), INSTANCE_TTL_MS)
    end
  end
  if s.connection ~= 'connected' and is_present() then
    connect('connected', math.max(at, s.connection_ms))
  end
  settle()
end

-- Sum of the window's weights.
local function weight()
  if not next(policy.weights) then return s.failures end
  local sum = 0
  local scored = redis.call('ZRANGE', FAILURES, 0, -1, 'WITHSCORES')
  for i = 2, #scored, 2 do sum = sum + (policy.weights[kind_of(tonumber(scored[i]))] or 1) end
  return sum
end

local function enough_reporters()
  if policy.min_reporters == 1 then return true end
  redis.call('ZADD', own('reporters'), 'GT', at, request.gateway or '')
  redis.call('ZREMRANGEBYSCORE', own('reporters'), '-inf', now - policy.window_ms)
  redis.call('PEXPIRE', own('reporters'), policy.window_ms + HOUR_MS)
  return redis.call('ZCARD', own('reporters')) >= policy.min_reporters
end

-- False if it was counted before. The set never needs more members than the threshold: the newest decide.
local function add_failure()
  if redis.call('ZADD', FAILURES, 'NX', score_of(at, request.kind), request.id) == 0 then return false end
  if s.failures == 0 and not wants_refresh() then redis.call('PEXPIRE', FAILURES, INSTANCE_TTL_MS) end
  if s.failures == 0 or at < s.oldest_ms then s.oldest_ms = at end
  s.failures = s.failures + 1
  if s.failures > policy.failure_threshold then
    local surplus = s.failures - policy.failure_threshold
    redis.call('ZREMRANGEBYRANK', FAILURES, 0, surplus - 1)
    s.failures = policy.failure_threshold
    s.oldest_ms = oldest_failure()
  end
  return true
end

local function cooldown_ms()
  if policy.cooldown_factor == 1 then return policy.cooldown_ms end
  if s.state == 'closed' and s.closed_ms > 0 then
    s.level = math.max(0, s.level - math.floor((now - s.closed_ms) / policy.cooldown_ms))
  end
  local cooldown = math.min(policy.cooldown_max_ms, policy.cooldown_ms * policy.cooldown_factor ^ s.level)
  if s.level > 0 then cooldown = cooldown * (1 - COOLDOWN_JITTER * random) end
  s.level = math.min(s.level + 1, 64)
  return math.floor(cooldown)
end

-- The cooldown runs from the failure that opens, also where that is reported late.
local function open_for_cooldown(action, cause)
  local until_ms = at + cooldown_ms()
  open(action, cause, until_ms, now)
  if until_ms <= now then settle() end
end

-- What is not counted, though it is of a kind that does.
local function pass_over(why)
  if why == 'open' then
    s.suppressed = s.suppressed + 1
    keep_suppressed(at)
  else
    if why == 'ignored' then release_slot() end
    keep_uncounted(at, why)
  end
  return answer(why)
end

-- One that was added to FAILURES.
local function count()
  keep_counted(at)
  local state = s.state
  if state == 'half_open' then
    open_for_cooldown('reopen', 'probe_failed')
    return answer('counted', true)
  end
  local reporters = enough_reporters()
  if state == 'closed' and reporters and weight() >= policy.failure_threshold then
    open_for_cooldown('trip', 'failures')
    return answer('counted', true)
  end
  return answer('counted')
end

-- Opens for a reason that is not the window's. A longer hold is not shortened by this one.
local function hold(action, until_ms)
  remember({ request.id }, now)
  if s.state == 'forced_open' or s.state == 'disabled' then return false end
  if s.state == 'open' then
    if s.until_ms == 0 then return false end
    if until_ms > 0 then until_ms = math.max(until_ms, s.until_ms) end
  end
  if stored.last_failure_ms > now - HOUR_MS then keep_cleared(now) end -- at the latest when that ends
  open(action, request.kind, until_ms, now)
  return true
end

local function terminal()
  if s.terminal ~= 'banned' then s.terminal = request.kind end
  return answer('permanent', hold('permanent', 0))
end

local function ban()
  local jitter = math.min(BAN_JITTER_MAX_MS, BAN_JITTER * request.ban_ms) * random
  local until_ms = math.floor(at + request.ban_ms + jitter)
  if until_ms <= now then return answer('ban') end
  s.ban_until_ms = math.max(s.ban_until_ms, until_ms)
  return answer('ban', hold('ban', until_ms))
end

local function conflict()
  if s.state == 'open' then return answer('conflict') end
  local until_ms = math.floor(now + CONFLICT_MIN_MS + (CONFLICT_MAX_MS - CONFLICT_MIN_MS) * random)
  return answer('conflict', hold('conflict', until_ms))
end

local function fail(counts)
  if at >= s.last_failure_ms then
    s.last_kind = request.kind
    s.last_detail = request.detail or ''
    s.last_failure_ms = at
  end
  if counts then return count() end
  if request.effect == 'count' then return pass_over(why_uncounted()) end
  if request.effect == 'terminal' then return terminal() end
  if request.effect == 'ban' then return ban() end
  if request.effect == 'conflict' then return conflict() end
  release_slot()
  return answer(request.effect == 'build' and 'build' or 'ignored')
end

return function(KEYS, ARGV)
  unpack_request(ARGV)
  begin(KEYS, true)
  random = request.random or 0
  at = happened_at(now)
  settle()
  local late = is_late()
  local counts = not late and request.outcome == 'failure' and request.effect == 'count' and not why_uncounted()
  local duplicate
  if counts then
    duplicate = is_seen() or not add_failure()
  else
    duplicate = is_seen() or is_in_window()
  end
  if duplicate then return answer('duplicate') end
  if late then return answer('late') end
  touch()
  if request.outcome == 'success' then
    succeed()
    return answer('success')
  end
  if is_present() then end_connection() end
  if request.outcome == 'failure' then return fail(counts) end
  release_slot()
  return answer('disconnected')
end
