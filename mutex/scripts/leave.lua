-- Takes a process out of a key's queue, or puts it to the end, and passes on the turn it may have been given, also when that
-- is over.
-- KEYS  lock, fence, queue, next
-- ARGV  1 process, 2 ms to keep the key for the process that is woken, 3 '1' to put it to the end, 4 '1' on a Redis Cluster
-- Reply 1.
local turn = redis.call('GET', KEYS[4])
local free = redis.call('EXISTS', KEYS[1]) == 0
if ARGV[3] == '1' then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[3], 'XX', time[1] .. string.format('%06d', tonumber(time[2])), ARGV[1])
else
  redis.call('ZREM', KEYS[3], ARGV[1])
end
if not turn or turn == ARGV[1] then -- it may have been this one's and be over
  redis.call('DEL', KEYS[4])
  if free then
    wake(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[4])
  end
end
return 1
