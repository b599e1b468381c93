-- Writes fields of a session that this node has, all or none.
-- KEYS  2 record
-- ARGV  5 memory   6 idle deadline to set if it is later, or ''   7… name, value
-- Reply {'ok' | 'absent' | 'none', memory}, {'gone', memory, logged out}, {'memory', memory}, {'late', memory, deadline}: the session ends before the
-- idle deadline, or {'newer', memory, version}: a field, or the floor, of this node is newer.
if memory ~= ARGV[5] then return {'memory', memory} end
local r = redis.call('HMGET', KEYS[2], 'x', 'h', floorField)
local h, floor = r[2], version(r[3])
if r[1] then return {'gone', memory} end
if not h then return {'none', memory} end
if mark(h) ~= mark(memory) or idle(h) < now then return {'absent', memory} end
local out = loggedOut(user(h))
if out > issue(h) then return {'gone', memory, out} end
if ARGV[6] > deadline(h) then return {'late', memory, deadline(h)} end
local newest = ''
for k = 7, #ARGV, 2 do
  local have = version(redis.call('HGET', KEYS[2], 'f' .. ARGV[k]))
  if have < floor then have = floor end -- a dropped field may have been newer
  if have > sub(ARGV[k + 1], 1, 32) and have > newest then newest = have end
end
if newest ~= '' then return {'newer', memory, newest} end
local later = ARGV[6] > idle(h)
if later then
  redis.call('HSET', KEYS[2], 'h', h)
  expire(KEYS[2], ARGV[6], slack)
end
for k = 7, #ARGV, 2 do redis.call('HSET', KEYS[2], 'f' .. ARGV[k], ARGV[k + 1]) end
if later then redis.call('HSET', KEYS[2], 'h', idleUntil(h, ARGV[6])) end
return {'ok', memory}
