local holder = redis.call('GET', KEYS[1])
if not holder then return 0 end
if holder ~= ARGV[1] then return 2 end
if redis.call('EXISTS', KEYS[3]) == 1 then wake(KEYS[1], KEYS[3], KEYS[4], ARGV[2], ARGV[3]) end
redis.call('DEL', KEYS[1])
return 1
