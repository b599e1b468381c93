-- Grants a key to a value in the place of a handle's, or names its holder.
-- KEYS  lock, fence, queue
-- ARGV  1 value, 2 ttl ms, 3 span, 4 floor µs (the client's clock), 5 the handle's value, 6 retention of the fence ms,
--       7 max ttl ms, 8 boot µs (0: not known)
-- Reply as acquire.lua; {0, 0, ''} the key is gone.
local holder = redis.call('GET', KEYS[1])
local waiters = redis.call('ZCARD', KEYS[3])
local again = holder == ARGV[1] and tonumber(redis.call('GET', KEYS[2]))
if again then return {1, again, waiters} end -- delivered again
if not holder then return {0, 0, ''} end
if holder ~= ARGV[1] and holder ~= ARGV[5] then return {0, redis.call('PTTL', KEYS[1]), holder} end
local fence, unusable = draw(KEYS[2], ARGV[3], ARGV[4], ARGV[7], ARGV[8])
if unusable then return unusable end
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[6])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, fence, waiters}
