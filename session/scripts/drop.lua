-- Drops the tombstones of fields that a read has seen on every node.
-- KEYS  2 record
-- ARGV  5 memory   6 the floor that was seen on this node, or ''   7 the new floor, with earlier ones   8… name, tombstone
-- Reply {'ok' | 'absent' | 'stale', memory}, or {'memory', memory}
if memory ~= ARGV[5] then return {'memory', memory} end
local r, all = redis.call('HGETALL', KEYS[2]), {}
for k = 1, #r, 2 do all[r[k]] = r[k + 1] end
if not all.h or mark(all.h) ~= mark(memory) then return {'absent', memory} end
if version(all[floorField]) ~= ARGV[6] then return {'stale', memory} end
for k = 8, #ARGV, 2 do
  local name = 'f' .. ARGV[k]
  if all[name] == ARGV[k + 1] then all[name] = nil end
end
all[floorField] = ARGV[7]
local set = {}
for name, value in pairs(all) do
  set[#set + 1] = name
  set[#set + 1] = value
end
expire(KEYS[2], idle(all.h), slack)
redis.call('HSET', KEYS[2], 'h', all.h)
redis.call('DEL', KEYS[2])
write(KEYS[2], set)
expire(KEYS[2], idle(all.h), slack)
return {'ok', memory}
