-- clones.lua: enters copies of an instance, as if each had gone through what the instance has.
--
-- On one server alone: its keys are named here.
-- ARGV  1 what is copied, msgpack (`loadtest/clones.py`): id, from (its partition's prefix of keys),
--         to (the copies' partition's), kinds (of its own keys), scores, fields, totals, epoch
--       2 ids of the copies, with a blank between them

local model = cmsgpack.unpack(ARGV[1])
local count = 0

for id in string.gmatch(ARGV[2], '%S+') do
  count = count + 1
  for _, kind in ipairs(model.kinds) do
    redis.call('COPY', model.from .. kind .. ':' .. model.id, model.to .. kind .. ':' .. id)
  end
  for _, one in ipairs(model.scores) do
    redis.call('ZADD', model.to .. one[1], one[3], one[2] .. id)
  end
  for _, one in ipairs(model.fields) do
    redis.call('HSET', model.to .. one[1], id, one[2])
  end
end

for name, each in pairs(model.totals) do
  redis.call('HINCRBY', model.to .. 'totals', name, each * count)
end
if model.epoch > tonumber(redis.call('HGET', model.to .. 'totals', 'epoch') or 0) then
  redis.call('HSET', model.to .. 'totals', 'epoch', string.format('%.0f', model.epoch))
end
for _, kind in ipairs(model.lasting) do
  redis.call('PEXPIRE', model.to .. kind, model.ttl_ms)
end
return count
