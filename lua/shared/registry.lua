-- Saving an instance: its record, and what its partition's totals, index and due times say of it.

local function retries(of)
  return of.attempts > 0 and of.attempts - 1 or 0
end

-- Causes of an open breaker that mean: it kept failing.
local FAILED = { failures = true, probe_failed = true }

local HELD_STATES = { 'open', 'half_open', 'forced_open', 'disabled' }

-- What an instance adds to its partition's totals.
local function contribution(of)
  local fails = of.connection ~= 'connected' and (of.failures > 0 or FAILED[of.cause])
  local adds = {
    failures = of.failures,
    retry_attempts = retries(of),
    known = of.registered_ms > 0 and 1 or 0,
    failing = fails and 1 or 0,
  }
  if of.state ~= 'closed' then adds[of.state] = 1 end
  if of.connection ~= '' then adds[of.connection] = 1 end
  return adds
end

local function add(field, delta)
  if delta ~= 0 then redis.call('HINCRBY', TOTALS, field, delta) end
end

local function update_totals(before, after)
  for field, value in pairs(after) do add(field, value - (before[field] or 0)) end
  for field, value in pairs(before) do
    if not after[field] then add(field, -value) end
  end
end

-- Most calls change no more of what it adds than how many failures and attempts there are.
local function adds_alike()
  return s.connection == stored.connection and (s.failures == 0) == (stored.failures == 0)
    and (packed_breaker or s.state == stored.state and s.cause == stored.cause)
end

local function label(state)
  return state .. ':' .. request.instance_id
end

local function list(state)
  if state ~= 'closed' then redis.call('ZADD', INDEX, 0, label(state)) end
end

local function held_labels()
  local labels = {}
  for i, state in ipairs(HELD_STATES) do labels[i] = label(state) end
  return unpack(labels)
end

-- What the totals hold for an instance that is in the index. If its record was lost, to an eviction for example,
-- that is as much as the index tells.
local function accounted()
  if stored.registered_ms > 0 then return contribution(stored) end
  local adds = { known = 1 }
  local found = redis.call('ZMSCORE', INDEX, held_labels())
  for i, state in ipairs(HELD_STATES) do adds[state] = found[i] and 1 or nil end
  return adds
end

-- Takes the instance out of the index; returns what the totals hold for it.
local function unlist()
  local is_listed = redis.call('ZREM', INDEX, label('all')) == 1
  local adds = is_listed and accounted() or {} -- or the partition's keys were lost
  redis.call('ZREM', INDEX, held_labels())
  return adds
end

-- Enters the instance in the index, at its first use and then once an hour; returns as `unlist`.
local function enlist()
  local is_new = redis.call('ZADD', INDEX, 0, label('all')) == 1
  local adds = is_new and {} or accounted()
  if not is_new then redis.call('ZREM', INDEX, held_labels()) end
  list(s.state)
  s.registered_ms = now
  return adds
end

local function relist()
  if s.state == stored.state then return end
  redis.call('ZREM', INDEX, label(stored.state))
  list(s.state)
end

-- When the passing of time alone changes the instance next, or its keys want refreshing.
local function next_due()
  local due, fades_ms = next_change(), s.registered_ms + SILENCE_MS
  if fades_ms < due then due = fades_ms end
  local leaves_ms = s.oldest_ms + policy.window_ms
  if s.failures > 0 and leaves_ms < due then due = leaves_ms end
  return due
end

-- Whether nothing has changed that could make it due any earlier, as in most calls while an instance fails.
local function is_due_as_before()
  return packed_breaker and s.connection == '' and s.due_ms > now and s.state ~= 'half_open'
    and (s.failures == 0 or s.oldest_ms + policy.window_ms >= s.due_ms)
end

-- Every key expires by itself, long after its last use. Refreshed once an hour, not at every call.
local function wants_refresh()
  return now - s.registered_ms >= HOUR_MS
end

local function refresh_expiry()
  if s.failures > 0 then redis.call('PEXPIRE', FAILURES, INSTANCE_TTL_MS) end
  if s.state == 'half_open' then redis.call('PEXPIRE', own('proving'), INSTANCE_TTL_MS) end
  for _, key in ipairs({ TOTALS, INDEX, DUE, VIEW }) do redis.call('PEXPIRE', key, PARTITION_TTL_MS) end
end

local function record_ttl_ms()
  if s.state == 'closed' then return INSTANCE_TTL_MS end
  return INSTANCE_TTL_MS + (s.until_ms > 0 and math.min(s.until_ms - now, HELD_TTL_MS) or HELD_TTL_MS)
end

local function save_record(refresh)
  local packed = pack_record()
  if refresh then
    redis.call('SET', INSTANCE, packed, 'PX', record_ttl_ms())
  elseif packed ~= kept then
    redis.call('SET', INSTANCE, packed, 'KEEPTTL')
  end
end

-- What replicas must know to answer a permit: nothing of an instance that is plainly closed, that is,
-- permitted without a wait. Of a closed one with failures or attempts only that they have to ask.
local SHOWN = { 'epoch', 'cause', 'reason', 'until_ms' }

local function plain(of)
  return of.failures == 0 and of.attempts == 0 and of.state == 'closed'
end

local function refuses(of)
  local state = of.state
  return state == 'open' or state == 'forced_open'
end

local function facts()
  if plain(s) then return end
  local shown = { state = s.state }
  if s.state == 'closed' then return shown end
  for _, field in ipairs(SHOWN) do shown[field] = s[field] end
  if refuses(s) then
    shown.failures = s.failures
    if s.failures > 0 then shown.oldest_leaves_ms = s.oldest_ms + policy.window_ms end
  end
  return shown
end

local function shown_differs()
  local is_closed = s.state == 'closed'
  if not packed_breaker then
    if s.epoch ~= stored.epoch or s.state ~= stored.state then return true end
    for _, field in ipairs(SHOWN) do
      if not is_closed and s[field] ~= stored[field] then return true end
    end
  end
  if is_closed then return plain(s) ~= plain(stored) end
  return refuses(s) and s.failures ~= stored.failures
end

local function show(refreshes)
  local epoch = partition_epoch()
  if s.epoch > epoch then
    epoch = s.epoch
    redis.call('HSET', TOTALS, 'epoch', epoch)
  end
  local shown = facts()
  if shown then
    local is_new = redis.call('HSET', VIEW, request.instance_id, cjson.encode(shown))
    if is_new == 1 and not refreshes then redis.call('PEXPIRE', VIEW, PARTITION_TTL_MS) end
  else
    redis.call('HDEL', VIEW, request.instance_id)
  end
  announce(TOTALS, VIEW, { instance_id = request.instance_id, epoch = epoch, facts = shown })
end

-- Writes what changed: record, totals, index, due time, and what replicas see.
local function save()
  if s.touched_ms == 0 then -- never used, or forgotten
    update_totals(unlist(), {})
    redis.call('ZREM', DUE, request.instance_id)
    redis.call('DEL', INSTANCE)
    if not plain(stored) then show() end
    return
  end
  local refresh = wants_refresh()
  local unsure = s.due_ms == 0 -- perhaps another policy is in force
  if refresh then
    update_totals(enlist(), contribution(s))
  elseif adds_alike() then
    add('failures', s.failures - stored.failures)
    if s.attempts ~= stored.attempts then add('retry_attempts', retries(s) - retries(stored)) end
  else
    update_totals(contribution(stored), contribution(s))
    relist()
  end
  if refresh or not is_due_as_before() then
    local due = next_due()
    if refresh or due < s.due_ms or s.due_ms <= now then
      redis.call('ZADD', DUE, due, request.instance_id)
      s.due_ms = due
    end
  end
  local refreshes = refresh or not packed_breaker and (s.state ~= stored.state or s.until_ms ~= stored.until_ms)
  save_record(refreshes)
  if shown_differs() or refresh and not plain(s) or unsure and refuses(s) then show(refreshes) end
  if refreshes then refresh_expiry() end
end
