-- Saving an instance: its record, and what its partition's totals, index and due times say of it.

local function retries(of)
  return math.max(0, of.attempts - 1)
end

-- Causes of an open breaker that mean: it kept failing.
local FAILED = { failures = true, probe_failed = true }

local HELD_STATES = { 'open', 'half_open', 'forced_open', 'disabled' }
local SUMS = { 'failures', 'retry_attempts', 'known', 'failing', 'connecting', 'connected', unpack(HELD_STATES) }

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
  for i = 1, #SUMS do
    local field = SUMS[i]
    add(field, (after[field] or 0) - (before[field] or 0))
  end
end

-- Most calls change no more of what it adds than how many failures there are.
local function adds_alike()
  return s.state == stored.state and s.cause == stored.cause and s.connection == stored.connection
    and s.attempts == stored.attempts and (s.failures == 0) == (stored.failures == 0)
end

local function label(state)
  return state .. ':' .. request.instance_id
end

local function list(state)
  if state ~= 'closed' then redis.call('ZADD', INDEX, 0, label(state)) end
end

-- Takes the instance out of the index; returns what the totals hold for it. If its record was lost,
-- to an eviction for example, that is as much as the index tells.
local function unlist()
  if stored.registered_ms > 0 then
    local known = redis.call('ZREM', INDEX, label('all'))
    redis.call('ZREM', INDEX, label(stored.state))
    return known == 1 and contribution(stored) or {} -- or the partition's keys were lost
  end
  local labels = { label('all') }
  for i, state in ipairs(HELD_STATES) do labels[i + 1] = label(state) end
  local found = redis.call('ZMSCORE', INDEX, unpack(labels))
  local adds = { known = found[1] and redis.call('ZREM', INDEX, labels[1]) }
  for i, state in ipairs(HELD_STATES) do
    adds[state] = found[i + 1] and redis.call('ZREM', INDEX, labels[i + 1])
  end
  return adds
end

-- Enters the instance in the index, at its first use and then once an hour; returns as `unlist`.
local function enlist()
  local before = unlist()
  redis.call('ZADD', INDEX, 0, label('all'))
  list(s.state)
  s.registered_ms = now
  return before
end

local function relist()
  if s.state == stored.state then return end
  redis.call('ZREM', INDEX, label(stored.state))
  list(s.state)
end

-- When the passing of time alone changes the instance next, or its keys want refreshing.
local function next_due()
  local due = math.min(next_change(), s.registered_ms + SILENCE_MS)
  return s.failures > 0 and math.min(due, s.oldest_ms + policy.window_ms) or due
end

-- Every key expires by itself, long after its last use. Refreshed once an hour, not at every call.
local function refresh_expiry()
  if s.failures > 0 then redis.call('PEXPIRE', FAILURES, INSTANCE_TTL_MS) end
  if s.state == 'half_open' then redis.call('PEXPIRE', PROVING, INSTANCE_TTL_MS) end
  for _, key in ipairs({ TOTALS, INDEX, DUE, VIEW }) do redis.call('PEXPIRE', key, PARTITION_TTL_MS) end
end

local function record_ttl_ms()
  if s.state == 'closed' then return INSTANCE_TTL_MS end
  return INSTANCE_TTL_MS + (s.until_ms > 0 and math.min(s.until_ms - now, HELD_TTL_MS) or HELD_TTL_MS)
end

local function save_record(refresh)
  for field, value in pairs(s) do
    if value == FRESH[field] then s[field] = nil end
  end
  local packed = cmsgpack.pack(s)
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
  return of.state == 'closed' and of.failures == 0 and of.attempts == 0
end

local function refuses(of)
  return of.state == 'open' or of.state == 'forced_open'
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
  if s.epoch ~= stored.epoch or s.state ~= stored.state then return true end
  if s.state == 'closed' then return plain(s) ~= plain(stored) end
  for _, field in ipairs(SHOWN) do
    if s[field] ~= stored[field] then return true end
  end
  return refuses(s) and s.failures ~= stored.failures
end

local function show()
  local epoch = partition_epoch()
  if s.epoch > epoch then
    epoch = s.epoch
    redis.call('HSET', TOTALS, 'epoch', epoch)
  end
  local shown = facts()
  if shown then
    local is_new = redis.call('HSET', VIEW, request.instance_id, cjson.encode(shown))
    if is_new == 1 then redis.call('PEXPIRE', VIEW, PARTITION_TTL_MS) end
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
  local refresh = now - s.registered_ms >= HOUR_MS
  local unsure = s.due_ms == 0 -- perhaps another policy is in force
  if refresh then
    update_totals(enlist(), contribution(s))
  elseif adds_alike() then
    add('failures', s.failures - stored.failures)
  else
    update_totals(contribution(stored), contribution(s))
    relist()
  end
  local due = next_due()
  if refresh or due < s.due_ms or s.due_ms <= now then
    redis.call('ZADD', DUE, due, request.instance_id)
    s.due_ms = due
  end
  local refreshes = refresh or s.state ~= stored.state or s.until_ms ~= stored.until_ms
  save_record(refreshes)
  if refreshes then refresh_expiry() end
  if shown_differs() or refresh and not plain(s) or unsure and refuses(s) then show() end
end
