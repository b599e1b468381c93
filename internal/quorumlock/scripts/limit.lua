-- What the scripts of a key that up to N hold at once have in common. The lock key is the marker limit:N while a slot is
-- taken, for as long as the longest of them.
-- KEYS  1 lock, 2 fence, 3 queue, 4 next, 5 slots, 6 until
-- The hash slots: '' the map, two letters for each slot, 00 where it is free and otherwise the tag of its holder, which has no 0; <slot>
-- '<number told> <value>'; <value> its slot; c<class> the largest number of the class that somebody stands behind;
-- @<waiter> where a free slot is reserved for one. The sorted set until: the ms at which each <slot> and @<waiter> is over.

-- The time in ms by this node's clock, by which slots expire.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Puts two letters into the map.
local function put(map, slot, letters)
  return string.sub(map, 1, 2 * slot) .. letters .. string.sub(map, 2 * slot + 3)
end

-- Whether a slot is taken.
local function taken(map, slot) return string.sub(map, 2 * slot + 1, 2 * slot + 1) ~= '0' end

-- The first slot from one on that is free.
local function free(map, from)
  local at = string.find(map, '0', 2 * from + 1, true)
  return at and (at - 1) / 2
end

-- The map of the slots that are taken, without those that are over, of which it finds up to 32 in one call; what is to
-- be forgotten of these; how many slots are taken or reserved; and in how many ms the first of them is over, -1 if there
-- is none.
local function survey(now)
  local map = redis.call('HMGET', KEYS[5], '')[1]
  local fields, over, count = {}, {}, redis.call('ZCARD', KEYS[6])
  local first = redis.call('ZRANGE', KEYS[6], '0', '0', 'WITHSCORES')
  if not map or not first[2] then return map, fields, over, count, -1 end
  if tonumber(first[2]) >= now then return map, fields, over, count, first[2] - now end
  local all, left = redis.call('ZRANGE', KEYS[6], '0', '31', 'WITHSCORES'), count > 32 and 0 or -1
  for i = 1, #all, 2 do
    if tonumber(all[i + 1]) >= now then
      left = all[i + 1] - now
      break
    end
    table.insert(over, all[i])
    table.insert(fields, all[i])
  end
  for i, entry in ipairs(redis.call('HMGET', KEYS[5], unpack(over))) do
    local value, slot = string.match(entry or '', '^%d+ (.*)$'), tonumber(over[i])
    if value then table.insert(fields, value) end
    if slot then map = put(map, slot, '00') end
  end
  return map, fields, over, count - #over, left
end

-- Forgets what survey found to be over.
local function purge(fields, over)
  if #over == 0 then return end
  redis.call('HDEL', KEYS[5], unpack(fields)) -- first: what is in the sorted set is found again
  redis.call('ZREM', KEYS[6], unpack(over))
end

-- Has the marker, and what belongs to it, live as long as the longest slot.
local function live(now, marker)
  local last = redis.call('ZRANGE', KEYS[6], '-1', '-1', 'WITHSCORES')
  local left = string.format('%.0f', math.max(tonumber(last[2]) - now, 1))
  redis.call('PEXPIRE', KEYS[5], left)
  redis.call('PEXPIRE', KEYS[6], left)
  redis.call('SET', KEYS[1], marker, 'PX', left)
end
