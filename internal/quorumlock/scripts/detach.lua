-- Replaces a holder's value by that of a handle, for a new TTL, where the fence counter is below a limit, and lifts the
-- counter to the limit. Every later grant of a quorum exceeds the limit, so no copy of this that comes late brings the
-- handle's value back once the key was somebody else's.
-- KEYS  lock, fence
-- ARGV  1 value, 2 ttl ms, 3 the handle's value, 4 floor µs (the client's clock), 5 limit, 6 retention of the fence ms,
--       7 max ttl ms, 8 boot µs (0: not known)
-- Reply {1} the handle's value is there; {2, fence} the counter is not below the limit; {0, holder's value} another's.
local holder = redis.call('GET', KEYS[1])
if holder ~= ARGV[1] and holder ~= ARGV[3] then return {0, holder or ''} end
local fence, unusable = draw(KEYS[2], 0, ARGV[4], ARGV[7], ARGV[8])
if unusable then return unusable end
if holder == ARGV[1] and fence >= tonumber(ARGV[5]) then return {2, fence} end
redis.call('SET', KEYS[2], string.format('%.0f', math.max(fence, tonumber(ARGV[5]))), 'PX', ARGV[6])
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
return {1}
