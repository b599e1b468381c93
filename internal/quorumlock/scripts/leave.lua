-- Takes a process out of a key's queue, or puts it to the end, and passes on the turn it may have been given, also when that
-- is over.
-- A writer that leaves lets readers pass that it kept from reading.
-- KEYS  lock, fence, queue, next
-- ARGV  1 process, or <process>/shared, 2 ms to keep the key for the process that is woken, 3 '1' to put it to the end, 4 '1' on a Redis Cluster
-- Reply 1.
local turn = redis.call('GET', KEYS[4])
local holder = redis.call('GET', KEYS[1])
if ARGV[3] == '1' then
  local time = redis.call('TIME')
  local last = time[1] * 1000000 + time[2]
  last = last - last % (last < 2251799813685248 and 1 or 4) -- see wake.lua
  redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', last), ARGV[1])
else
  redis.call('ZREM', KEYS[3], ARGV[1])
end
if turn == 'shared' and reads(ARGV[1]) then -- others have the same turn
  local first = redis.call('ZRANGE', KEYS[3], '0', '0')[1]
  if not first or not reads(first) then turn = ARGV[1] end
end
if not turn or turn == ARGV[1] then -- it may have been this one's and be over
  redis.call('DEL', KEYS[4])
  if not holder then
    wake(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[4])
  elseif holder == 'shared' and not reads(ARGV[1]) then
    wakeReaders(KEYS[1], KEYS[3], nil, {})
  end
end
return 1
