-- Takes a process out of a key's queue, and passes on the turn it may have been given, also when that is over.
-- KEYS  lock, fence, queue, next
-- ARGV  1 process, 2 ms to keep the key for the process that is woken, 3 '1' on a Redis Cluster
-- Reply 1.
redis.call('ZREM', KEYS[3], ARGV[1])
local turn = redis.call('GET', KEYS[4])
if not turn or turn == ARGV[1] then -- it may have been this one's and be over
  redis.call('DEL', KEYS[4])
  if redis.call('EXISTS', KEYS[1]) == 0 then
    wake(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[3])
  end
end
return 1
