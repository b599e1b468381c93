-- Wakes the first waiting process that still listens, and keeps the key for it for a moment, so that nobody who
-- happens to come by is faster. PUBLISH tells how many received; on a Redis Cluster it counts one server only, so there
-- (many) the first is believed to live, and leaves the queue in case it does not. With nothing to reserve nobody is woken.
local function wake(key, queue, following, reserve, many)
  if reserve == '0' then return end
  while true do
    local first = redis.call('ZRANGE', queue, '0', '0')[1]
    if not first then return end
    local received = redis.call('PUBLISH', 'redlock:wake:' .. first, 'w' .. key)
    if received == 0 or many == '1' then redis.call('ZREM', queue, first) end
    if received > 0 or many == '1' then
      redis.call('SET', following, first, 'PX', reserve)
      return
    end
  end
end

