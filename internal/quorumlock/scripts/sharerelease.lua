-- Takes out a reader. The last one frees the key and wakes the first that waits.
-- KEYS  lock, fence, queue, next, readers
-- ARGV  1 value, or shared: by force, all readers, 2 ms to keep the key for the process that is woken, 3 '1' on a Redis
--       Cluster, from 4 on, by force, the readers that were seen; none: do not look at them
-- Reply 1 released, 0 it was gone, 2 it is another's.
local holder = redis.call('GET', KEYS[1])
if not holder then return 0 end
local live, gone, writers, now = {}, {}, {}, nil
if holder == 'shared' and ARGV[1] == 'shared' then
  if ARGV[4] and others(KEYS[5], 4) then return 2 end
elseif holder == 'shared' then
  live, gone, writers, now = reading(KEYS[5])
  if not live[ARGV[1]] then return 0 end
  live[ARGV[1]] = nil
elseif holder ~= ARGV[1] then -- it is the value's where it has not become a reader yet
  return 2
end
if next(live) then
  redis.call('ZREM', KEYS[5], ARGV[1])
  dropAll(KEYS[5], gone)
  keep(KEYS[1], KEYS[5], live, now)
  return 1
end
if redis.call('EXISTS', KEYS[3]) == 1 then wake(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[3]) end
redis.call('DEL', KEYS[5])
redis.call('DEL', KEYS[1])
return 1
