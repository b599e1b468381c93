-- Takes a key away from a value, by force. Nobody else is given it before its holder's TTL is over, and a holder that
-- renews it finds out.
-- KEYS  lock, and if the value is shared: readers
-- ARGV  1 value, 2 what stands in its place, 3 ms to keep that if the key never expires, 4 ms to keep it if the key is gone, for
--       the value may be on its way here (0: leave it gone), from 5 on the readers that were seen; none: do not look at them
-- Reply {1, ms until the key is free} taken, or kept from the value; {0} it was gone; {2} it is another's.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[2] then return {1, redis.call('PTTL', KEYS[1])} end -- delivered again
if not holder then
  if ARGV[4] == '0' then return {0} end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[4])
  return {1, tonumber(ARGV[4])}
end
if holder ~= ARGV[1] or KEYS[2] and ARGV[5] and others(KEYS[2], 5) then return {2} end
local left = redis.call('PTTL', KEYS[1])
if left < 0 then left = tonumber(ARGV[3]) end
left = math.max(left, 1)
redis.call('SET', KEYS[1], ARGV[2], 'PX', left)
return {1, left}
