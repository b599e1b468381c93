-- Wakes the first waiting process that still listens, and keeps the key for it for a moment, so that nobody who
-- happens to come by is faster. Half a microsecond more in its score marks a process that was woken and has not looked since.
-- If its moment is over as well, it has lost its place: a process that is stopped still counts as one that listens, and
-- would cost every release that moment. PUBLISH returns how many received; on a Redis Cluster it counts one server only, so
-- there (many) the first is believed to live, and leaves the queue in case it does not. With nothing to reserve nobody is
-- woken.
local function wake(key, queue, following, reserve, many)
  if reserve == '0' then return end
  while true do
    local first = redis.call('ZRANGE', queue, '0', '0', 'WITHSCORES')
    local process, place = first[1], tonumber(first[2])
    if not process then return end
    local woken, received = place % 1 > 0, 0
    if not woken or redis.call('GET', following) == process then
      received = redis.call('PUBLISH', 'redlock:wake:' .. process, 'w' .. key)
      if many == '1' then received = 1 end
    end
    if received == 0 or many == '1' then
      redis.call('ZREM', queue, process)
    elseif not woken then
      redis.call('ZADD', queue, 'XX', string.format('%.1f', place + 0.5), process)
    end
    if received > 0 then
      redis.call('SET', following, process, 'PX', reserve)
      return
    end
  end
end

