-- Makes a session, or merges into the one that is here what the others have of it.
-- KEYS  2 record
-- ARGV  5 memory   6 how long what concerns the user is kept, ms   7 hash   8 predecessor or ''   9 it leads here until
--       10 version at which all other sessions of the user end, or ''
--       11 born   12 issue   13 user   14 absolute deadline   15 idle deadline   16… name, value
-- Reply {'ok', memory, '', '', {name, value, …}}, with what the predecessor had besides, {'gone' | 'absent', memory},
-- {'memory', memory}, or {'newer', memory, version}: the user was logged out since the issue,
-- or a session is newer than the version at which it would end.
if memory ~= ARGV[5] then return {'memory', memory} end
if redis.call('HEXISTS', KEYS[2], 'x') == 1 then return {'gone', memory} end

local values = {}
local function newer(name, value)
  if string.sub(values[name] or '', 1, 32) < string.sub(value, 1, 32) then values[name] = value end
end
local function take(key)
  local r = redis.call('HGETALL', key)
  for k = 1, #r, 2 do
    if string.sub(r[k], 1, 1) == 'f' then newer(r[k], r[k + 1]) end
  end
end
take(KEYS[2])
local given = {}
for k = 16, #ARGV, 2 do
  given['f' .. ARGV[k]] = ARGV[k + 1]
  newer('f' .. ARGV[k], ARGV[k + 1])
end

local old, replaced = prefix .. ARGV[8], ARGV[8] ~= ''
local o = {}
if replaced then
  o = redis.call('HMGET', old, 'x', 'to', 'u', 'v', 'e', 'm')
  if o[1] and o[2] ~= ARGV[7] then return {'gone', memory} end
  -- Who lacks it does not know whether it was ended, nor what else is in it.
  if not o[1] and o[6] ~= memory then return {'absent', memory} end
  if o[4] and loggedOut(o[3]) > o[4] then return {'gone', memory} end
  take(old)
end

local function least(a, b) if a and a < b then return a end return b end
local function most(a, b) if a and a > b then return a end return b end
local h = redis.call('HMGET', KEYS[2], 'b', 'v', 'e', 'i')
local born, issue, last, user = least(h[1], ARGV[11]), most(h[2], ARGV[12]), least(h[3], ARGV[14]), ARGV[13]
local idle = least(most(h[4], ARGV[15]), last)
local out = loggedOut(user)
if out > issue then return {'newer', memory, out} end
local top = user ~= '' and redis.call('HGET', epoch(user), 'top')
if ARGV[10] ~= '' then
  local last = most(top, out)
  if last > ARGV[10] then return {'newer', memory, last} end
  redis.call('HSET', epoch(user), 'all', ARGV[10])
end

redis.call('HSET', KEYS[2], 'm', memory, 'b', born, 'v', issue, 'u', user, 'e', last, 'i', idle)
for name, value in pairs(values) do redis.call('HSET', KEYS[2], name, value) end
expire(KEYS[2], idle, slack)
if user ~= '' then
  redis.call('ZADD', index(user), last, ARGV[7])
  redis.call('ZREMRANGEBYSCORE', index(user), '-inf', string.format('(%.0f', tonumber(now) - slack * 1000))
  redis.call('PEXPIRE', index(user), ARGV[6])
  redis.call('HSET', epoch(user), 'top', most(top, issue))
  redis.call('PEXPIRE', epoch(user), ARGV[6])
end
if replaced and not o[1] then
  bury(old, o[3], ARGV[8], o[5] or last)
  redis.call('HSET', old, 'to', ARGV[7], 'until', ARGV[9])
end
local more = {}
if replaced then
  for name, value in pairs(values) do
    if given[name] ~= value then
      more[#more + 1] = string.sub(name, 2)
      more[#more + 1] = value
    end
  end
end
return {'ok', memory, '', '', more}
