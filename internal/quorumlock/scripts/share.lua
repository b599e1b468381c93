-- Grants the key to one more reader, or names its holder and queues the reader. It is refused where another holds the key,
-- or it is reserved for another, and where a writer of another process that lives came before it, while others read
-- or may: only then, or readers that are each the first on another node would wait for each other.
-- A reader draws no number: its fence is the counter.
-- KEYS  lock, fence, queue, next, readers
-- ARGV  1 value, 2 ttl ms, 3 its place in the queue: <process>/shared, 4 floor µs (the client's clock), 5 process,
--       6 retention of the fence ms, 7 max ttl ms, 8 boot µs (0: not known), 9 has a q to be queued on refusal, a c on a
--       Redis Cluster
-- Reply {1, fence, processes that wait to write, 1 if its place in the queue is still there} granted; {0, ms until it may be
--       free, holder's value} refused.
-- All that is read, and PUBLISH, comes before anything is written, as in acquire.lua.
local many = string.find(ARGV[9], 'c', 1, true)
local holder = redis.call('GET', KEYS[1])
local live, gone, writers, now = {}, {}, {}, nil
if holder == 'shared' then live, gone, writers, now = reading(KEYS[5]) end
local read = next(live) ~= nil
local free = not holder or holder == 'shared' and not read
local reserved = free and redis.call('GET', KEYS[4])

local waiting, before, place, behind = 0, {}, nil, {}
local queue = redis.call('ZRANGE', KEYS[3], '0', '-1', 'WITHSCORES')
for i = 1, #queue, 2 do
  local process = queue[i]
  if process == ARGV[3] then
    place = tonumber(queue[i + 1])
  elseif process ~= '' and not reads(process) then
    waiting = waiting + 1
    if not place and process ~= ARGV[5] then before[#before + 1] = process end
  end
end
local counted = live[ARGV[1]] and tonumber(redis.call('GET', KEYS[2]))
if counted then return {1, counted, waiting, place and 1 or 0} end -- delivered again

local dead, waits = {}, false
if read or reserved == 'shared' then
  for _, process in ipairs(before) do
    waits = writes(KEYS[1], process, writers, many)
    if waits then break end
    if not many then dead[process] = true end
  end
end
local unmarked
if place then
  local mark = place % (place < 2251799813685248 and 1 or 4) -- see wake.lua
  if mark > 0 then unmarked = string.format('%.0f', place - mark) end
end

if not free and not read or waits or reserved and reserved ~= ARGV[3] and reserved ~= 'shared' then
  local left = redis.call('PTTL', free and KEYS[4] or KEYS[1])
  if string.find(ARGV[9], 'q', 1, true) then
    local process = holder and string.match(holder, '^([^/]+)/')
    local time = redis.call('TIME')
    if process then redis.call('PUBLISH', 'redlock:wake:' .. process, 'q' .. KEYS[1]) end
    local there = redis.call('PEXPIRE', KEYS[3], ARGV[7])
    if unmarked then redis.call('ZADD', KEYS[3], 'XX', unmarked, ARGV[3]) end
    local last = time[1] * 1000000 + time[2]
    last = last - last % (last < 2251799813685248 and 1 or 4)
    redis.call('ZADD', KEYS[3], 'NX', string.format('%.0f', last), ARGV[3])
    if there == 0 then redis.call('PEXPIRE', KEYS[3], ARGV[7]) end
  elseif unmarked then
    redis.call('ZADD', KEYS[3], 'XX', unmarked, ARGV[3])
  end
  for process in pairs(dead) do redis.call('ZREM', KEYS[3], process) end
  return {0, left, holder or ''}
end

local fence, unusable = draw(KEYS[2], 0, ARGV[4], ARGV[7], ARGV[8])
if unusable then return unusable end
if not read then live, gone, writers, now = reading(KEYS[5]) end
if not read or next(dead) then wakeReaders(KEYS[1], KEYS[3], ARGV[3], dead) end
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[6])
if unmarked then redis.call('ZADD', KEYS[3], 'XX', unmarked, ARGV[3]) end
for process in pairs(dead) do redis.call('ZREM', KEYS[3], process) end
if reserved then redis.call('DEL', KEYS[4]) end
if read then
  dropAll(KEYS[5], gone)
else
  redis.call('DEL', KEYS[5])
  live = {}
end
live[ARGV[1]] = now + ARGV[2]
keep(KEYS[1], KEYS[5], live, now, ARGV[1])
return {1, fence, waiting, place and 1 or 0}
