-- Says who has which slot of the key. It changes nothing.
-- Reply {slot, 'number told value', ms left, the next slot, …}
local now, all, slots = clock(), {}, {}
local found = redis.call('ZRANGE', KEYS[6], '0', '-1', 'WITHSCORES')
for i = 1, #found, 2 do
  if tonumber(found[i]) and tonumber(found[i + 1]) >= now then table.insert(slots, i) end
end
for _, i in ipairs(slots) do
  local entry = redis.call('HMGET', KEYS[5], found[i])[1]
  if entry then
    table.insert(all, tonumber(found[i]))
    table.insert(all, entry)
    table.insert(all, found[i + 1] - now)
  end
end
return all
