-- Gives a reader a new TTL, and makes a reader of the holder whose value it is. The queue does not delay it.
-- KEYS  lock, queue, readers
-- ARGV  1 value, 2 ttl ms, 3 '1' on a Redis Cluster
-- Reply {1, w} owned; {2, w} it was gone and is set again: healed; {0, holder's value} another's. w is 1 if a process
-- that lives waits to write.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= 'shared' and holder ~= ARGV[1] then return {0, holder} end
local live, gone, writers, now = reading(KEYS[3])
if holder ~= 'shared' then live = {} end
local owned = holder == ARGV[1] or live[ARGV[1]]
local waits, dead = 0, {}
for _, process in ipairs(redis.call('ZRANGE', KEYS[2], '0', '-1')) do
  if process ~= '' and not reads(process) then
    if writes(KEYS[1], process, writers, ARGV[3] == '1') then
      waits = 1
      break
    end
    if ARGV[3] ~= '1' then dead[process] = true end
  end
end
if holder ~= 'shared' or next(dead) then wakeReaders(KEYS[1], KEYS[2], nil, dead) end
for process in pairs(dead) do redis.call('ZREM', KEYS[2], process) end
if holder == 'shared' then dropAll(KEYS[3], gone) else redis.call('DEL', KEYS[3]) end
live[ARGV[1]] = now + ARGV[2]
keep(KEYS[1], KEYS[3], live, now, ARGV[1])
return {owned and 1 or 2, waits}
