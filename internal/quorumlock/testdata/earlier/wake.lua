local function wake(key, queue, following, reserve, many)
  if reserve == '0' then return end
  redis.call('ZREM', queue, '')
  while true do
    local first = redis.call('ZRANGE', queue, '0', '0', 'WITHSCORES')
    local process, place = first[1], tonumber(first[2])
    if not process then return end
    local step = place < 2251799813685248 and 1 or 4
    local wakes, received = place % step / step * 4, 0
    if wakes == 0 or redis.call('GET', following) ~= process then wakes = wakes + 1 end
    if wakes <= 3 then
      received = redis.call('PUBLISH', 'redlock:wake:' .. process, 'w' .. key)
      if many == '1' then received = 1 end
    end
    if received == 0 or many == '1' then
      redis.call('ZREM', queue, process)
    else
      redis.call('ZADD', queue, 'XX', string.format('%.2f', place - place % step + wakes / 4 * step), process)
    end
    if received > 0 then
      local moment = math.min(reserve * 4 ^ (wakes - 1), math.max(tonumber(reserve), 500))
      redis.call('SET', following, process, 'PX', string.format('%.0f', moment))
      return
    end
  end
end
