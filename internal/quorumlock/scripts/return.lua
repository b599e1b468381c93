-- Returns a key to the handle whose value another has replaced, for no longer than the handle has left.
-- KEYS  lock
-- ARGV  1 value, 2 the handle's value, 3 ms that the handle has left (0: the key is deleted)
-- Reply 1 returned or deleted; 0 it was gone; 2 it is another's.
local holder = redis.call('GET', KEYS[1])
if not holder then return 0 end
if holder ~= ARGV[1] then return 2 end
local left = math.min(redis.call('PTTL', KEYS[1]), tonumber(ARGV[3]))
if left > 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', left)
else
  redis.call('DEL', KEYS[1])
end
return 1
