-- Gives a value's slot back and wakes a waiter for one, or for the whole key if it was the last that was taken.
-- ARGV  1 value, 2 marker, 3 slot ('': whichever it has), 4 ms to reserve a slot for the process that is woken,
--       5 max ttl ms, 6 a waiter, process/s, to queue for the slots that others have ('': none), 7 '1' on a Redis Cluster
-- Reply 1 released, 0 it was gone, 2 it is another's.
local holder = redis.call('GET', KEYS[1])
if not holder then return 0 end
if holder ~= ARGV[2] then return 2 end
local found = redis.call('HMGET', KEYS[5], ARGV[1], ARGV[3])
local slot = found[1]
if ARGV[3] ~= '' then -- what was seized has no field for its value: see limitseize.lua
  if string.match(found[2] or '', '^%d+ (.*)$') ~= ARGV[1] then return 0 end
  slot = ARGV[3]
end
if not slot then return 0 end
local now = clock()
local map, fields, over, count = survey(now)
local left = put(map, slot, '00')
if not string.find(left, '[^0]') then
  if redis.call('EXISTS', KEYS[3]) == 1 then wake(KEYS[1], KEYS[3], KEYS[4], ARGV[4], ARGV[7]) end
  redis.call('DEL', KEYS[5], KEYS[6], KEYS[1])
  return 1
end
redis.call('HDEL', KEYS[5], slot, found[1] == slot and ARGV[1] or slot)
redis.call('ZREM', KEYS[6], slot)
purge(fields, over)
redis.call('HSET', KEYS[5], '', left)
if redis.call('EXISTS', KEYS[3]) == 1 then rouse(now, slot, ARGV[4], ARGV[7]) end
live(now, ARGV[2])
if ARGV[6] ~= '' then
  announce(#left / 2, slot, string.match(ARGV[6], '^[^/]*'))
  enqueue(ARGV[6], ARGV[5])
end
return 1
