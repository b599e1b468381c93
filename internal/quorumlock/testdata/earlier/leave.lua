local turn = redis.call('GET', KEYS[4])
local free = redis.call('EXISTS', KEYS[1]) == 0
if ARGV[3] == '1' then
  local time = redis.call('TIME')
  local last = time[1] * 1000000 + time[2]
  last = last - last % (last < 2251799813685248 and 1 or 4)
  redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', last), ARGV[1])
else
  redis.call('ZREM', KEYS[3], ARGV[1])
end
if not turn or turn == ARGV[1] then
  redis.call('DEL', KEYS[4])
  if free then
    wake(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[4])
  end
end
return 1
