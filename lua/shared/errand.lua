-- Whether errands wait for the owner of a session.
local function has_errands(instance_id, now)
  local expires_ms = tonumber(redis.call('ZSCORE', WAITING, instance_id))
  return expires_ms ~= nil and expires_ms > now
end
