-- Grants a slot of the key to a value: the first that is free from start on. Or it says why not, and queues the process
-- that asks, as acquire.lua does.
-- ARGV  1 value, 2 ttl ms, 3 numbers to draw, 4 floor µs (the client's clock), 5 the waiter: process/s, 6 retention of the
--       fence ms, 7 max ttl ms, 8 marker, 9 number of slots, 10 start, 11 the holder's tag, 12 number of classes,
--       13 boot µs (0: not known), 14 '1' to be queued on refusal
-- Reply {1, number told, others that wait, slot, map before (left out if there are many slots, and start was free), ms until
--       one more slot may be free (-1: all are)} granted;
--       {0, ms until it may be free (-1: not known), a holder's value or the marker, map} refused.
-- All that is read comes before anything is written, and the key itself last: see acquire.lua.
local now, number, process = clock(), tonumber(ARGV[9]), string.match(ARGV[5], '^[^/]*')
local holder = redis.call('GET', KEYS[1])
local map, fields, over, count, soonest, mine, reserved = string.rep('00', number), {}, {}, 0, -1, nil, false
local first = redis.call('ZRANGE', KEYS[3], '0', '0', 'WITHSCORES')
local waiters = redis.call('ZCARD', KEYS[3]) - (first[1] == ARGV[5] and 1 or 0)
local turn = not holder and redis.call('GET', KEYS[4])
if holder == ARGV[8] then
  map, fields, over, count, soonest = survey(now)
  local found = redis.call('HMGET', KEYS[5], ARGV[1], '@' .. ARGV[5])
  mine, reserved = found[1], found[2]
  if mine and map and taken(map, mine) then -- delivered again
    local entry = redis.call('HMGET', KEYS[5], mine)[1]
    return {1, tonumber(string.match(entry, '^%d+')), waiters, tonumber(mine), map, soonest}
  end
  for _, one in ipairs(over) do
    if one == '@' .. ARGV[5] then reserved = false end
  end
end
local place = first[1] == ARGV[5] and tonumber(first[2]) or 0
local mark, unmarked = place % (place < 2251799813685248 and 1 or 4), nil -- see wake.lua
if mark > 0 then unmarked = string.format('%.0f', place - mark) end

local left, who = nil, ''
if holder and (holder ~= ARGV[8] or not map) then -- without a map the slots were lost
  left, who = redis.call('PTTL', KEYS[1]), holder
elseif turn and turn ~= ARGV[5] then
  left = redis.call('PTTL', KEYS[4])
elseif number - count + (reserved and 1 or 0) <= 0 then
  left = soonest
  local entry = redis.call('HMGET', KEYS[5], ARGV[10])[1]
  who = string.match(entry or '', '^%d+ (.*)$') or ''
end
if left then
  if ARGV[14] == '1' then
    if holder == ARGV[8] and map then
      announce(number, ARGV[10], process) -- which knows its own callers
    elseif holder then -- of this process, too: its callers may come one after the other for ever
      tell(holder, {})
    end
    enqueue(ARGV[5], ARGV[7])
  end
  if unmarked then redis.call('ZADD', KEYS[3], 'XX', unmarked, ARGV[5]) end
  if reserved then -- a renewal has set the slot, and the next that comes free is to wake it again
    table.insert(over, '@' .. ARGV[5])
    table.insert(fields, '@' .. ARGV[5])
  end
  if #over > 0 and map then
    purge(fields, over)
    redis.call('HSET', KEYS[5], '', map)
  end
  return {0, left, who, holder == ARGV[8] and map or ''}
end

local from = tonumber(ARGV[10])
local slot = free(map, from) or free(map, 0)
local fence, unusable = draw(KEYS[2], ARGV[3], ARGV[4], ARGV[7], ARGV[13])
if unusable then return unusable end
local told = string.format('%.0f', fence)
redis.call('SET', KEYS[2], told, 'PX', ARGV[6]) -- which a server without memory refuses, as it comes first
redis.call('PEXPIRE', KEYS[2], ARGV[6]) -- as it is: whose right to it is lacking makes no slot without a TTL
if unmarked then redis.call('ZADD', KEYS[3], 'XX', unmarked, ARGV[5]) end
if turn then redis.call('DEL', KEYS[4]) end
if not holder then redis.call('DEL', KEYS[5], KEYS[6]) end -- of slots whose marker was deleted
if reserved then
  table.insert(over, '@' .. ARGV[5])
  table.insert(fields, '@' .. ARGV[5])
end
purge(fields, over)
redis.call('HSET', KEYS[5], '', put(map, slot, ARGV[11]), slot, told .. ' ' .. ARGV[1], ARGV[1], slot,
  'c' .. slot % ARGV[12], told)
redis.call('ZADD', KEYS[6], string.format('%.0f', now + ARGV[2]), slot)
live(now, ARGV[8])
return {1, fence, waiters, slot, slot == from and number > 64 and '' or map, soonest}
