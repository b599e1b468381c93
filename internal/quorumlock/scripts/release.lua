-- Gives a value's key back and wakes who waits for it.
-- KEYS  lock, fence, queue, next
-- ARGV  1 value, 2 ms to keep the key for the process that is woken, 3 '1' on a Redis Cluster
-- Reply 1 released, 0 it was gone, 2 it is another's.
-- The key goes last: where the user lacks a right that a wake needs, the answer is that, and nothing was released.
local holder = redis.call('GET', KEYS[1])
if not holder then return 0 end
if holder ~= ARGV[1] then return 2 end
if redis.call('EXISTS', KEYS[3]) == 1 then wake(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[3]) end
redis.call('DEL', KEYS[1])
return 1
