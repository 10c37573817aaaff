-- The push channel of a partition: what replicas must know at once. It is named like the VIEW key.
-- A message is about an instance's facts, or rings a bell for those who wait for something.
-- Numbered without a gap, so that a replica notices what it has missed. The first number is a time:
-- above all that came before the partition was lost.
local PARTITION_TTL_MS = 2 * 86400000

local function announce(totals, view, message)
  message.seq = redis.call('HINCRBY', totals, 'seq', 1)
  if message.seq == 1 then
    message.seq = server_ms()
    redis.call('HSET', totals, 'seq', message.seq)
  end
  redis.call('PEXPIRE', totals, PARTITION_TTL_MS)
  redis.call('SPUBLISH', view, cjson.encode(message))
end
