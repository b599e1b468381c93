-- KEYS  2 record
-- ARGV  5 idle deadline to set, '' to leave it   6 set it where it is earlier than this
-- Reply {'ok', memory, logged out, record}
local r = redis.call('HGETALL', KEYS[2])
local h = {}
for k = 1, #r, 2 do
  if #r[k] == 1 then h[r[k]] = r[k + 1] end
  if r[k] == 'i' then h.at = k + 1 end
end
if h.i and ARGV[5] ~= '' and h.i < ARGV[6] and h.i >= now then
  local idle = ARGV[5]
  if idle > h.e then idle = h.e end
  if idle > h.i then
    r[h.at] = idle
    redis.call('HSET', KEYS[2], 'i', idle)
    expire(KEYS[2], idle, slack)
  end
end
return {'ok', memory, loggedOut(h.u or ''), r}
