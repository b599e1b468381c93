-- Wakes the first waiter for a slot that has none reserved, and reserves one for it for a moment. Others get what is
-- free beyond the reservations, whichever slots these are; the message names the one that came free, so that two
-- that are woken do not get in each other's way. Places, their marks and moments are as in wake.lua. Waiters for the
-- whole key are passed over: they are woken when the last slot is released. So are those that have a slot reserved, of
-- which there may be as many as slots, 1,024. It looks at a few places, and at more if it finds nobody there, but at no
-- more than 1,364, which takes a node about a millisecond. Waiters beyond look again when a TTL ends.
local function rouse(now, slot, reserve, many)
  if reserve == '0' then return end
  redis.call('ZREM', KEYS[3], '') -- as in wake.lua
  local last = redis.call('ZRANGE', KEYS[6], '-1', '-1', 'WITHSCORES')
  if not last[1] then return end -- all slots are over, and with them the key: a reservation would have no TTL
  local at, looks = 0, 4
  for _ = 1, 5 do
    local places, reserved, gone = redis.call('ZRANGE', KEYS[3], at, at + looks - 1, 'WITHSCORES'), {}, 0
    if not places[1] then return end
    for i = 1, #places, 2 do table.insert(reserved, '@' .. places[i]) end
    reserved = redis.call('HMGET', KEYS[5], unpack(reserved))
    for i = 1, #places, 2 do
      local waiter, place = places[i], tonumber(places[i + 1])
      local process = string.match(waiter, '^([^/]*)/s$')
      if process and not reserved[(i + 1) / 2] then
        local step = place < 2251799813685248 and 1 or 4
        local wakes, received = place % step / step * 4 + 1, 0
        if wakes <= 3 then
          received = redis.call('PUBLISH', 'redlock:wake:' .. process, 's' .. slot .. ':' .. KEYS[1])
          if many == '1' then received = 1 end
        end
        if received == 0 or many == '1' then
          redis.call('ZREM', KEYS[3], waiter)
          gone = gone + 1
        else
          redis.call('ZADD', KEYS[3], 'XX', string.format('%.2f', place - place % step + wakes / 4 * step), waiter)
        end
        if received > 0 then
          local moment = math.min(reserve * 4 ^ (wakes - 1), math.max(tonumber(reserve), 500))
          local till = math.min(now + moment, tonumber(last[2] or 0)) -- the marker lives no longer
          redis.call('HSET', KEYS[5], '@' .. waiter, '1')
          redis.call('ZADD', KEYS[6], string.format('%.0f', till), '@' .. waiter)
          return
        end
      end
    end
    at, looks = at + looks - gone, 4 * looks
  end
end

