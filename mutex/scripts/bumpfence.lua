-- Lifts the fence counter to the token on which an acquisition settles, if the key is still as that acquisition was
-- granted it. A counter above the token means that the node has granted the key to another in between, and to this value
-- again by a request delivered twice: it must not stand behind the token.
-- KEYS  lock, fence
-- ARGV  1 value, 2 token, 3 retention of the fence ms
-- Reply 1 owned, 0 not owned.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local fence = tonumber(redis.call('GET', KEYS[2])) or 0
if fence > tonumber(ARGV[2]) then return 0 end
if fence < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
return 1
