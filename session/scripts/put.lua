-- Creates a session, or merges the data of other nodes into the session of this node.
-- KEYS  2 record
-- ARGV  5 memory   6 how long the data of the user is kept, ms   7 hash   8 predecessor or ''   9 it leads here until
--       10 version at which all other sessions of the user end, or ''
--       11 born   12 issue   13 user   14 absolute deadline   15 idle deadline
--       16 hashes of the rivals that have lost the contest   17 issue of the predecessor
--       18… name, value
-- Reply {'ok', memory, '', '', {name, value, …}}, with additional fields of the predecessor, {'absent', memory},
-- {'gone', memory, logged out}, {'out', memory, rival, logged out}: it ended for this rival in a contest,
-- {'stale', memory, '', '', {'\0', floor}}: this node has dropped fields since the put data was read, {'memory', memory}, or
-- {'newer', memory, version}: the user was logged out since the issue, or a session is newer than the version at which it would end.
if memory ~= ARGV[5] then return {'memory', memory} end

local values, given = {}, {}
local function newer(name, value)
  if version(values[name]) < version(value) then values[name] = value end
end
for k = 18, #ARGV, 2 do given['f' .. ARGV[k]] = ARGV[k + 1] end
local floors = given[floorField] or ''
-- Reports whether the put data was read after the fields that a record lacks had been dropped.
local function knows(floor)
  if floor == '' or floor == version(floors) then return true end
  for k = 34, #floors, 32 do
    if sub(floors, k, k + 31) == floor then return true end
  end
  return false
end
local function read(key)
  local r, all = redis.call('HGETALL', key), {}
  for k = 1, #r, 2 do all[r[k]] = r[k + 1] end
  all.whole = all.h and mark(all.h) == mark(memory)
  all.stale = all.whole and not knows(version(all[floorField]))
  return all
end
local function stale(floor) return {'stale', memory, '', '', {sub(floorField, 2), floor}} end
local mine, o = read(KEYS[2]), {}
if mine.x then return {'gone', memory} end
if mine.stale then return stale(mine[floorField]) end

-- Returns the answer if the user was logged out at this version, except by a rival that has lost or conceded.
local function loggedOutBy(rival, out)
  if rival == '' or ARGV[10] == '' then return {'gone', memory, out} end
  if string.find(ARGV[16], rival, 1, true) or redis.call('HGET', prefix .. rival, 'lost') then return nil end
  return {'out', memory, rival, out}
end

-- Returns the answer if a record of this node was logged out.
local function ended(h)
  local out = h and loggedOut(user(h))
  if not h or out <= issue(h) then return nil end
  return loggedOutBy(redis.call('HGET', epoch(user(h)), 'by') or '', out)
end

-- Returns the answer of a node that lacks the predecessor: it cannot replace it. It still takes part in a contest, because
-- a rival may have the predecessor.
local function absent()
  if ARGV[10] == '' then return {'absent', memory} end
  local key = epoch(ARGV[13])
  local e = redis.call('HMGET', key, 'all', 'by', 'top')
  local out, rival, top = e[1] or '', e[2] or '', e[3] or ''
  local beaten = out > ARGV[17] and rival ~= ARGV[7] and loggedOutBy(rival, out)
  if beaten then return beaten end
  if out > top then top = out end
  if top > ARGV[10] then return {'newer', memory, top} end
  redis.call('SET', KEYS[1], memory) -- as below
  redis.call('PEXPIRE', key, ARGV[6])
  redis.call('HSET', key, 'all', ARGV[10], 'by', ARGV[7])
  redis.call('PEXPIRE', key, ARGV[6])
  return {'absent', memory}
end

local old, replaced = prefix .. ARGV[8], ARGV[8] ~= ''
if replaced then
  o = read(old)
  if o.x and o.to ~= ARGV[7] then return {'gone', memory} end
  -- A node that lacks the predecessor knows neither whether it has ended nor its other fields.
  if o.x and not mine.whole or not o.x and not o.whole then return absent() end
  local out = ended(o.h) or ended(mine.h)
  if out then return out end
  if o.stale and mine[floorField] then return stale(o[floorField]) end
end

-- Merges the put data with the data of this node. Fields below the floor may have been deleted from a record that is not whole.
-- If the predecessor has dropped fields and the put does not name its floor, only put fields above that floor count.
local above = ''
if o.stale then above, floors = version(o[floorField]), o[floorField] end
for name, value in pairs(given) do
  if version(value) > above and (above == '' or name ~= floorField) then newer(name, value) end
end
for _, all in ipairs({mine, o}) do
  for name, value in pairs(all) do
    if sub(name, 1, 1) == 'f' and (all.whole or name ~= floorField and version(value) > version(floors)) then newer(name, value) end
  end
end

local first, from, last, to, who = ARGV[11], ARGV[12], ARGV[14], ARGV[15], ARGV[13]
if mine.h then
  if born(mine.h) < first then first = born(mine.h) end
  if issue(mine.h) > from then from = issue(mine.h) end
  if deadline(mine.h) < last then last = deadline(mine.h) end
  if idle(mine.h) > to then to = idle(mine.h) end
end
if to > last then to = last end
local top = from
if who ~= '' then
  local e = redis.call('HMGET', epoch(who), 'all', 'top')
  local out = e[1] or ''
  if out > from then return {'newer', memory, out} end
  local newest = e[2] and e[2] > out and e[2] or out
  if newest > from then top = newest end
  if ARGV[10] ~= '' then
    if newest > ARGV[10] then return {'newer', memory, newest} end
  end
end

local set = {'h', mark(memory) .. first .. from .. last .. to .. who}
for name, value in pairs(values) do
  set[#set + 1] = name
  set[#set + 1] = value
end
redis.call('SET', KEYS[1], memory) -- changes nothing, but fails on a server that is out of memory
expire(KEYS[2], to, slack)
if who ~= '' then
  redis.call('ZREMRANGEBYSCORE', index(who), '-inf', string.format('(%.0f', tonumber(now) - slack * 1000))
  redis.call('PEXPIRE', index(who), ARGV[6])
  redis.call('ZADD', index(who), last, ARGV[7])
  redis.call('PEXPIRE', index(who), ARGV[6])
end
if replaced and not o.x then
  bury(old, o.h, ARGV[8], deadline(o.h))
  redis.call('HSET', old, 'to', ARGV[7], 'until', ARGV[9])
end
if mine.h then redis.call('HSET', KEYS[2], 'h', mine.h) end
if mine.h and mark(mine.h) ~= mark(memory) then redis.call('DEL', KEYS[2]) end
write(KEYS[2], set)
expire(KEYS[2], to, slack)
if who ~= '' then
  if ARGV[10] ~= '' then redis.call('HSET', epoch(who), 'all', ARGV[10], 'by', ARGV[7]) end
  redis.call('HSET', epoch(who), 'top', top)
  redis.call('PEXPIRE', epoch(who), ARGV[6])
end
local more = {}
if replaced then
  for name, value in pairs(values) do
    if given[name] ~= value then
      more[#more + 1] = sub(name, 2)
      more[#more + 1] = value
    end
  end
end
return {'ok', memory, '', '', more}
