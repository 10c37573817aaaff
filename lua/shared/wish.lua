-- Whether a session is to be connected.
local function is_wanted(instance_id)
  return redis.call('HEXISTS', SESSIONS, instance_id) == 1
end
