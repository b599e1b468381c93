-- Writes fields of a session that is here, all or none.
-- KEYS  2 record
-- ARGV  5 memory   6 idle deadline to set if it is later, or ''   7… name, value
-- Reply {'ok' | 'gone' | 'absent', memory}, {'memory', memory}, or {'newer', memory, version}: a field here is newer.
if memory ~= ARGV[5] then return {'memory', memory} end
local h = redis.call('HMGET', KEYS[2], 'x', 'm', 'u', 'v', 'i', 'e')
if h[1] then return {'gone', memory} end
if h[2] ~= memory or h[5] < now then return {'absent', memory} end
if loggedOut(h[3]) > h[4] then return {'gone', memory} end
local newest = ''
for k = 7, #ARGV, 2 do
  local have = string.sub(redis.call('HGET', KEYS[2], 'f' .. ARGV[k]) or '', 1, 32)
  if have > string.sub(ARGV[k + 1], 1, 32) and have > newest then newest = have end
end
if newest ~= '' then return {'newer', memory, newest} end
for k = 7, #ARGV, 2 do redis.call('HSET', KEYS[2], 'f' .. ARGV[k], ARGV[k + 1]) end
local idle = ARGV[6] < h[6] and ARGV[6] or h[6]
if idle > h[5] then
  redis.call('HSET', KEYS[2], 'i', idle)
  expire(KEYS[2], idle, slack)
end
return {'ok', memory}
