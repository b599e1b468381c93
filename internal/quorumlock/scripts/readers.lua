-- The readers of a key. While it has any, the lock key holds the word shared, and expires with the last of them. The set
-- beside it has each reader's value by the ms at which it expires. On a Redis Cluster it also has the processes that
-- wait to write, which have no slash, by the ms until which they are taken to live.

-- Returns the expiry of each reader that has not expired, the words of the set that have, the writers that live, and the
-- time.
local function reading(key)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local words = redis.call('ZRANGE', key, '0', '-1', 'WITHSCORES')
  local live, gone, writers = {}, {}, {}
  for i = 1, #words, 2 do
    local expiry = tonumber(words[i + 1])
    if expiry < now then
      gone[#gone + 1] = words[i]
    elseif string.find(words[i], '/', 1, true) then
      live[words[i]] = expiry
    else
      writers[words[i]] = true
    end
  end
  return live, gone, writers, now
end

-- Reports whether any reads but those that ARGV has from an index on.
local function others(key, from)
  local live = reading(key)
  for i = from, #ARGV do live[ARGV[i]] = nil end
  return next(live) ~= nil
end

local function dropAll(key, gone)
  for _, word in ipairs(gone) do redis.call('ZREM', key, word) end
end

-- Keeps the lock key and the set until the last of the readers expires. A TTL comes before what it is for, and the lock
-- key last. Its reader is one whose expiry is new; nil: none is.
local function keep(lock, key, live, now, reader)
  local left = 1
  for _, expiry in pairs(live) do left = math.max(left, expiry - now) end
  left = string.format('%.0f', left)
  local there = redis.call('PEXPIRE', key, left)
  if reader then redis.call('ZADD', key, string.format('%.0f', live[reader]), reader) end
  if there == 0 then redis.call('PEXPIRE', key, left) end
  redis.call('SET', lock, 'shared', 'PX', left)
end

-- Reports whether a process that waits to write lives, and asks it whether it waits: a place whose leave was lost would keep
-- readers out for as long as others read. PUBLISH returns how many received, but on a Redis Cluster it counts one server
-- only. There a writer says itself that it lives: see announce.lua.
local function writes(lock, process, writers, many)
  if many then return writers[process] end
  return redis.call('PUBLISH', 'redlock:wake:' .. process, 'p' .. lock) > 0
end
