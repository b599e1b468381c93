-- Lifts the fence counter to the number on which an acquisition of a slot settles, if the slot is still as that
-- acquisition was granted it, and the node has granted none of its numbers to another of the same class: see limit.go. A
-- counter below what was reported was lost. A second copy is refused.
-- ARGV  1 value, 2 slot, 3 number told, 4 number it settles on, 5 retention of the fence ms, 6 class, 7 numbers drawn, 8 marker
-- Reply 1 owned, 0 not owned.
if redis.call('GET', KEYS[1]) ~= ARGV[8] then return 0 end
local found = redis.call('HMGET', KEYS[5], ARGV[2], 'c' .. ARGV[6])
if found[1] ~= ARGV[3] .. ' ' .. ARGV[1] then return 0 end
local fence, told, to, last = tonumber(redis.call('GET', KEYS[2])) or 0, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(found[2])
if fence < told or last ~= told and last > to - ARGV[7] then return 0 end
redis.call('SET', KEYS[2], string.format('%.0f', math.max(fence, to)), 'PX', ARGV[5])
redis.call('HSET', KEYS[5], ARGV[2], ARGV[4] .. ' ' .. ARGV[1], 'c' .. ARGV[6], ARGV[4])
return 1
