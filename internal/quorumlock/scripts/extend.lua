-- Gives a value's key a new TTL.
-- KEYS  lock
-- ARGV  1 value, 2 ttl ms
-- Reply {1} owned; {2} it was gone and is set again: healed; {0, holder's value} another's.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1}
end
if holder then return {0, holder} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {2}
