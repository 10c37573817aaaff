#!lua
-- answer_errand: tells whoever waits what came of an errand; the first answer stays.
--
-- KEYS  1 ANSWER  string  what came of an errand, empty until then; until nobody waits any longer
--       2 TOTALS  hash    sums over the partition's instances; 2 days after the last use of any
--       3 VIEW    hash    instances that are not plainly closed, as replicas see them; as TOTALS
-- ARGV  1 request, msgpack:
--         id        the errand's own
--         answer    sealed, never empty
--         now_ms    tests only
-- Returns 1 if somebody waits for it, else 0

local ANSWER, TOTALS, VIEW
-- include: request announce

return function(KEYS, ARGV)
  receive(ARGV)
  ANSWER, TOTALS, VIEW = KEYS[1], KEYS[2], KEYS[3]
  local answer = redis.call('GET', ANSWER)
  if answer == request.answer then return 1 end
  if answer ~= '' then return 0 end
  redis.call('SET', ANSWER, request.answer, 'KEEPTTL')
  announce(TOTALS, VIEW, { bell = 'answer:' .. request.id })
  return 1
end
