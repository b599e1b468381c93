-- Lifts the fence counter to the token on which a reader settles, if it still reads there. A counter that is gone, or below
-- what was reported, was lost: it is not made anew, as in bumpfence.lua.
-- KEYS  lock, fence, readers
-- ARGV  1 value, 2 token, 3 retention of the fence ms, 4 the fence that was reported
-- Reply 1 the counter is not below the token; 0 not owned.
if redis.call('GET', KEYS[1]) ~= 'shared' then return 0 end
local live = reading(KEYS[3])
local fence = tonumber(redis.call('GET', KEYS[2])) or 0
if not live[ARGV[1]] or fence < tonumber(ARGV[4]) then return 0 end
if fence < tonumber(ARGV[2]) then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return 1
