-- Takes a slot away from a value, by force. Nobody else is given it before its holder's TTL is over, and a holder that
-- renews it finds out.
-- ARGV  1 value, 2 marker, 3 slot, 4 what stands in the value's place, 5 ms to keep that if the slot is free, for the value may be on
--       its way here (0: leave it free), 6 the tag of what stands there, 7 number of slots
-- Reply {1, ms until the slot is free} marked; {3, ms} it was marked before; {0} it was gone; {2} it is another's.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[2] then return {2} end
if not holder and ARGV[5] == '0' then return {0} end
local now, map, fields, over = clock(), string.rep('00', tonumber(ARGV[7])), {}, {}
if holder then map, fields, over = survey(now) end
if not map then return {2} end
local found = redis.call('HMGET', KEYS[5], ARGV[3], ARGV[1])
local value, mine = string.match(found[1] or '', '^%d+ (.*)$'), found[2]
local has = holder and taken(map, ARGV[3])
local left, lasting = tonumber(ARGV[5]), redis.call('PTTL', KEYS[5]) -- other slots live longer
if has then
  if value ~= ARGV[1] and value ~= ARGV[4] then return {2} end
  local ends = redis.call('ZRANGE', KEYS[6], '0', '-1', 'WITHSCORES')
  for i = 1, #ends, 2 do
    if ends[i] == ARGV[3] then left = math.max(ends[i + 1] - now, left, 1) end
  end
elseif left == 0 then
  return {0}
end
redis.call('PEXPIRE', KEYS[5], string.format('%.0f', math.max(left, lasting)))
if not holder then redis.call('DEL', KEYS[5], KEYS[6]) end
purge(fields, over)
if mine == ARGV[3] then redis.call('HDEL', KEYS[5], ARGV[1]) end
redis.call('HSET', KEYS[5], '', put(map, ARGV[3], ARGV[6]), ARGV[3], '0 ' .. ARGV[4])
redis.call('ZADD', KEYS[6], string.format('%.0f', now + left), ARGV[3])
live(now, ARGV[2])
return {has and value == ARGV[4] and 3 or 1, left}
