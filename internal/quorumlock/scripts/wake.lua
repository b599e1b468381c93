-- Wakes the first waiting process that still listens, and keeps the key for it for a moment, so that nobody who
-- happens to come by is faster. A place is a number of microseconds, in steps of one, and each wake since the process last
-- looked adds a quarter of a step to its score. From 2^51 on (2041) a score has no room for a quarter of a microsecond, so
-- steps are of four there, and it has room until 2255. A live process may take longer than its moment: its round trip is long, or it pauses. So the second moment is four times
-- the first, the third sixteen times (by default 20, 80 and 320 ms, but no more than half a second where the first is less).
-- At the fourth wake a process has lost its place: one that is stopped still counts as one that listens, and would cost every
-- release a moment. The look of a client whose acquire script does not clear the mark goes unseen: it loses its place as
-- well, but only after three wakes without success, and is queued again, at the end, by its next look.
-- PUBLISH returns how many received; on a Redis Cluster it counts one server only, so
-- there (many) the first is believed to live, and leaves the queue in case it does not. With nothing to reserve nobody is
-- woken.
-- A reader's place is <process>/shared, and it listens there. With the first reader, those are woken that stand between
-- it and the next writer, and the key is kept for readers. An earlier version wakes one reader, which wakes the others
-- when it has the key (share.lua), and takes each place for a process of its own.
local function reads(process) return string.sub(process, -7) == '/shared' end

-- Wakes the readers before the first writer, but not one, nor those that are dead.
local function wakeReaders(key, queue, but, dead)
  for _, process in ipairs(redis.call('ZRANGE', queue, '0', '-1')) do
    if process ~= '' and process ~= but and not dead[process] then
      if not reads(process) then return end
      redis.call('PUBLISH', 'redlock:wake:' .. process, 'w' .. key)
    end
  end
end

local function wake(key, queue, following, reserve, many)
  if reserve == '0' then return end
  -- It removes nobody. A server without memory refuses the first write of a script if it may add something, and this adds
  -- nothing: a key can be released on a full server.
  redis.call('ZREM', queue, '')
  while true do
    local first = redis.call('ZRANGE', queue, '0', '0', 'WITHSCORES')
    local process, place = first[1], tonumber(first[2])
    if not process then return end
    local turn = reads(process) and 'shared' or process
    local step = place < 2251799813685248 and 1 or 4
    local wakes, received = place % step / step * 4, 0
    if wakes == 0 or redis.call('GET', following) ~= turn then wakes = wakes + 1 end
    if wakes <= 3 then
      received = redis.call('PUBLISH', 'redlock:wake:' .. (string.match(process, '^(.*)/s$') or process), 'w' .. key) -- see limitwake.lua
      if many == '1' then received = 1 end
    end
    if received == 0 or many == '1' then
      redis.call('ZREM', queue, process)
    else
      redis.call('ZADD', queue, 'XX', string.format('%.2f', place - place % step + wakes / 4 * step), process)
    end
    if received > 0 then
      local moment = math.min(reserve * 4 ^ (wakes - 1), math.max(tonumber(reserve), 500))
      if turn == 'shared' then wakeReaders(key, queue, process, {}) end
      redis.call('SET', following, turn, 'PX', string.format('%.0f', moment))
      return
    end
  end
end

