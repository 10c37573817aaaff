-- Leases: who owns a session, as its record in OWNERS says, and until when, as its score in LEASES does.

local function owner_of(instance_id)
  local json = redis.call('HGET', OWNERS, instance_id)
  return json and cjson.decode(json) or { gateway = '', token = 0 }
end

local function set_owner(instance_id, owner)
  redis.call('HSET', OWNERS, instance_id, cjson.encode(owner))
end

-- Nothing is left of a session that is neither wanted nor owned.
local function forget(instance_id)
  redis.call('ZREM', LEASES, instance_id)
  redis.call('HDEL', OWNERS, instance_id)
end

local function lasts(instance_id, now)
  local ends_ms = tonumber(redis.call('ZSCORE', LEASES, instance_id))
  return ends_ms ~= nil and ends_ms > now
end

-- Whether the caller's token is that of the session's present lease, and the lease has not run out.
local function is_held(instance_id, owner, token, now)
  return owner.gateway == request.gateway and owner.token == token and lasts(instance_id, now)
end
