-- Sets a fence counter that cannot be one, or lies beyond the clock, to a number that can.
-- KEYS  fence
-- ARGV  1 the largest number that is left alone, 2 the new number, 3 retention of the fence ms
-- Reply 1 set, 0 left alone.
local value = redis.call('GET', KEYS[1])
if not value then return 0 end
local counted = string.match(value, '^%d+$') and tonumber(value)
if counted and counted <= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
