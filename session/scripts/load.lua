-- KEYS  2 record
-- ARGV  5 idle deadline to set, '' to leave it   6 set it only if it is earlier than this
-- Reply {'ok', memory, logged out, record}
local r = redis.call('HGETALL', KEYS[2])
local at
for k = 1, #r, 2 do
  if r[k] == 'h' then
    at = k + 1
    break
  end
end
if not at then return {'ok', memory, '', r} end
local h = r[at]
local out = loggedOut(user(h))
if ARGV[5] ~= '' and idle(h) < ARGV[6] and idle(h) >= now then
  local to = ARGV[5] < deadline(h) and ARGV[5] or deadline(h)
  if to > idle(h) then
    r[at] = idleUntil(h, to)
    expire(KEYS[2], to, slack)
    redis.call('HSET', KEYS[2], 'h', r[at])
  end
end
return {'ok', memory, out, r}
