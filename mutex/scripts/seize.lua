-- Takes a key away from a value, by force. Nobody else is given it before its holder's TTL is over, and a holder that
-- renews it finds out.
-- KEYS  lock
-- ARGV  1 value, 2 what stands in its place, 3 ms to keep that if the key never expires
-- Reply {1, ms until the key is free} taken; {0} it was gone; {2} it is another's.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[2] then return {1, redis.call('PTTL', KEYS[1])} end -- delivered again
if not holder then return {0} end
if holder ~= ARGV[1] then return {2} end
local left = redis.call('PTTL', KEYS[1])
if left < 0 then left = tonumber(ARGV[3]) end
left = math.max(left, 1)
redis.call('SET', KEYS[1], ARGV[2], 'PX', left)
return {1, left}
