-- Stores an entry: the result of a load only if its lease is still valid, a value that was set in any case.
-- KEYS  entry, lease
-- ARGV  1 nonce, 2 '1' for a fill, 3 kind, 4 soft, 5 hard, 6 delta, 7 run of the server, 8 ms that the entry is kept,
--       9 channel of drops, 10 data, 11 prefix of tags, 12 ms that tags last, 13 prefix of deletions of tags, 14… tags: of a
--       fill those that its lease does not have
-- Reply 1 stored, 0 refused.
local lines, count
if ARGV[2] == '1' then
  local held = redis.call('HMGET', KEYS[2], 'by', 'tags', 'deletions')
  if held[1] ~= ARGV[1] then return 0 end
  lines = held[2]
  count = select(2, string.gsub(lines, "\n", ""))
  local stands = stand(lines, 1, count, ARGV[11])
  for i = 14, #ARGV do -- a tag that came with the value must not have been deleted since the load began
    local deleted = redis.call('GET', ARGV[13] .. ARGV[i])
    stands = stands and not (deleted and tonumber(deleted) > tonumber(held[3] or 0))
  end
  if not stands then
    finish(KEYS[2], KEYS[1])
    return 0
  end
  local more, added = label(14, ARGV[11], ARGV[1], ARGV[12])
  lines, count = lines .. more, count + added
else
  lines, count = label(14, ARGV[11], ARGV[1], ARGV[12])
end
local now = redis.call('TIME')
local stamp = now[1] .. string.format('%06d', tonumber(now[2]))
local facts = table.concat({ARGV[3], stamp, ARGV[4], ARGV[5], ARGV[6], ARGV[7], tostring(count)}, ' ')
redis.call('SET', KEYS[1], facts .. '\n' .. lines .. ARGV[10], 'PX', ARGV[8])
finish(KEYS[2], KEYS[1])
redis.call('PUBLISH', ARGV[9], KEYS[1])
return 1
