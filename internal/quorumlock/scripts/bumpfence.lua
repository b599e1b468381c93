-- Lifts the fence counter to the token on which an acquisition settles, if the key is still as that acquisition was
-- granted it, and the node has granted none of its tokens to another: the counter is as the node reported it to this
-- acquisition, or below all of its block. A counter that is gone, or below what was reported, was lost: it is not made
-- anew, for nobody knows what it had granted. A second copy finds the token, and is refused.
-- KEYS  lock, fence
-- ARGV  1 value, 2 token: the last of the block, 3 retention of the fence ms, 4 the fence that was reported, 5 size of the block
-- Reply 1 owned, 0 not owned.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local fence, token, reported = tonumber(redis.call('GET', KEYS[2])) or 0, tonumber(ARGV[2]), tonumber(ARGV[4])
if fence < reported or fence > math.max(reported, token - ARGV[5]) then return 0 end
if fence >= token then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
