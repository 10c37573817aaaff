#!lua flags=no-writes
-- tail: what a partition's stream of transitions holds behind a place, and how far it reaches. Changes nothing.
--
-- KEYS  1 EVENTS     stream  the partition's last 5,000 transitions; 7 days after the last
-- ARGV  1 request, msgpack:
--         after    an entry's id or any other ms-seq: what follows it is wanted
--         limit    entries at most
--         now_ms   tests only
-- Returns msgpack: the fields of Tail (sekring/store/contract.py)

-- include: request

return function(KEYS, ARGV)
  receive(ARGV)
  local EVENTS = KEYS[1]

  local info = { length = 0, ['entries-added'] = 0, ['last-generated-id'] = '0-0' }
  if redis.call('EXISTS', EVENTS) == 1 then
    local flat = redis.call('XINFO', 'STREAM', EVENTS)
    for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
  end
  local entries = {}
  if request.limit > 0 and info.length > 0 then
    entries = redis.call('XRANGE', EVENTS, '(' .. request.after, '+', 'COUNT', request.limit)
  end
  return cmsgpack.pack({
    entries = entries,
    added = info['entries-added'],
    kept = info.length,
    first = info['first-entry'] and info['first-entry'][1] or nil,
    last = info['last-generated-id'],
    now_ms = server_ms(),
  })
end
