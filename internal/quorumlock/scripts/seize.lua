-- Takes a key away from a value, by force: a mark stands in its place. Nobody else is given the key before its holder's TTL is
-- over, and a holder that renews it finds out.
-- KEYS  lock, and if the value is shared: readers
-- ARGV  1 value, 2 mark, 3 ms to keep the mark if the key never expires, 4 ms to keep it at least, also if the key is gone, for
--       the value may be on its way here (0: leave it gone), from 5 on the readers that were seen; none: do not look at them
-- Reply {1, ms until the key is free} marked; {3, ms} it was marked before; {0} it was gone; {2} it is another's.
local holder, block = redis.call('GET', KEYS[1]), tonumber(ARGV[4])
if holder == ARGV[2] then
  local left = redis.call('PTTL', KEYS[1])
  if left >= block then return {3, left} end
  redis.call('PEXPIRE', KEYS[1], block)
  return {3, block}
end
if not holder and block == 0 then return {0} end
if holder and (holder ~= ARGV[1] or KEYS[2] and ARGV[5] and others(KEYS[2], 5)) then return {2} end
local left = holder and redis.call('PTTL', KEYS[1]) or 0
if left < 0 then left = tonumber(ARGV[3]) end
left = math.max(left, block, 1)
redis.call('SET', KEYS[1], ARGV[2], 'PX', left)
return {1, left}
