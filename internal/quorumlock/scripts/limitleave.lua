-- Takes a process that waits for a slot out of the key's queue, or puts it to the end, and passes on what was reserved for
-- it, also when that is over.
-- ARGV  1 the waiter: process/s, 2 ms to reserve a slot for the process that is woken, 3 '1' to put it to the end,
--       4 '1' on a Redis Cluster
-- Reply 1.
local holder, turn = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[4])
if ARGV[3] == '1' then
  local time = redis.call('TIME')
  local last = time[1] * 1000000 + time[2]
  last = last - last % (last < 2251799813685248 and 1 or 4) -- see wake.lua
  redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', last), ARGV[1])
else
  redis.call('ZREM', KEYS[3], ARGV[1])
end
if not holder then
  if not turn or turn == ARGV[1] then -- it may have been this one's and be over
    redis.call('DEL', KEYS[4])
    wake(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[4])
  end
elseif string.sub(holder, 1, 6) == 'limit:' then
  local now = clock()
  local map, fields, over, count = survey(now)
  local removed = redis.call('HDEL', KEYS[5], '@' .. ARGV[1])
  if removed == 1 then redis.call('ZREM', KEYS[6], '@' .. ARGV[1]) end
  for _, one in ipairs(over) do
    if one == '@' .. ARGV[1] then removed = 0 end -- it is not counted
  end
  count = count - removed
  purge(fields, over) -- or rouse passes over a waiter whose reservation is over
  if map and #over > 0 then redis.call('HSET', KEYS[5], '', map) end
  if map and count < #map / 2 then rouse(now, free(map, 0), ARGV[2], ARGV[4]) end
end
return 1
