-- Gives a value's slot a new TTL. A value that stands in another slot, where this node granted it that one, leaves it.
-- ARGV  1 value, 2 ttl ms, 3 slot, 4 marker, 5 number of slots, 6 the holder's tag
-- Reply {1} owned; {2} it was gone and is set again: healed; {0, holder's value, or the marker} another's.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[4] then return {0, holder} end
local now, mine = clock(), holder and redis.call('HMGET', KEYS[5], ARGV[1])[1]
local till = string.format('%.0f', now + ARGV[2])
if mine == ARGV[3] then
  redis.call('ZREM', KEYS[6], '') -- nothing, so that a server without memory does not refuse it: see wake.lua
  redis.call('ZADD', KEYS[6], till, mine)
  live(now, ARGV[4])
  return {1}
end
local map, fields, over = string.rep('00', tonumber(ARGV[5])), {}, {}
if holder then
  map, fields, over = survey(now)
  if not map then return {0, holder} end
end
local slot = tonumber(ARGV[3])
local heals = not taken(map, slot)
local entry = not heals and redis.call('HMGET', KEYS[5], ARGV[3])[1]
local lasting = math.max(ARGV[2], redis.call('PTTL', KEYS[5])) -- other slots live longer
redis.call('PEXPIRE', KEYS[5], string.format('%.0f', lasting))
if not holder then redis.call('DEL', KEYS[5], KEYS[6]) end
if mine then
  map = put(map, mine, '00')
  table.insert(over, mine)
  table.insert(fields, mine)
  table.insert(fields, ARGV[1])
end
purge(fields, over)
if heals then
  redis.call('HSET', KEYS[5], '', put(map, slot, ARGV[6]), ARGV[3], '0 ' .. ARGV[1], ARGV[1], ARGV[3])
  redis.call('ZADD', KEYS[6], till, ARGV[3])
else
  redis.call('HSET', KEYS[5], '', map)
end
live(now, ARGV[4])
if heals then return {2} end
return {0, string.match(entry or '', '^%d+ (.*)$') or holder}
