-- KEYS  2 record
-- ARGV  5 idle deadline to set, '' to leave it   6 set it where it is earlier than this
-- Reply {'ok', memory, logged out, record}
local h, fields = read(KEYS[2])
if h.i and ARGV[5] ~= '' and h.i < ARGV[6] and h.i >= now then
  local idle = ARGV[5] < h.e and ARGV[5] or h.e
  if idle > h.i then
    h.i = idle
    redis.call('HSET', KEYS[2], 'i', idle)
    expire(KEYS[2], idle, slack)
  end
end
return {'ok', memory, loggedOut(h.u or ''), pack(h, fields)}
