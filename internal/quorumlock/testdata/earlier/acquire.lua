local waiters, reserved, unmarked = 0, false, nil
if redis.call('EXISTS', KEYS[1], KEYS[3], KEYS[4]) > 0 then
  local first = redis.call('ZRANGE', KEYS[3], '0', '0', 'WITHSCORES')
  waiters = redis.call('ZCARD', KEYS[3]) - (first[1] == ARGV[5] and 1 or 0)
  local holder = redis.call('GET', KEYS[1])
  local fence = holder == ARGV[1] and tonumber(redis.call('GET', KEYS[2]))
  if fence then return {1, fence, waiters} end
  reserved = redis.call('GET', KEYS[4])
  local place = first[1] == ARGV[5] and tonumber(first[2]) or 0
  local mark = place % (place < 2251799813685248 and 1 or 4)
  if mark > 0 then unmarked = string.format('%.0f', place - mark) end
  if (holder and holder ~= ARGV[1]) or (not holder and reserved and reserved ~= ARGV[5]) then
    local left = redis.call('PTTL', holder and KEYS[1] or KEYS[4])
    if ARGV[9] == '1' then
      local process = holder and string.match(holder, '^([^/]+)/')
      local time = redis.call('TIME')
      if process then redis.call('PUBLISH', 'redlock:wake:' .. process, 'q' .. KEYS[1]) end
      local there = redis.call('PEXPIRE', KEYS[3], ARGV[7])
      if unmarked then redis.call('ZADD', KEYS[3], 'XX', unmarked, ARGV[5]) end
      local last = time[1] * 1000000 + time[2]
      last = last - last % (last < 2251799813685248 and 1 or 4)
      redis.call('ZADD', KEYS[3], 'NX', string.format('%.0f', last), ARGV[5])
      if there == 0 then redis.call('PEXPIRE', KEYS[3], ARGV[7]) end
    elseif unmarked then
      redis.call('ZADD', KEYS[3], 'XX', unmarked, ARGV[5])
    end
    return {0, left, holder or ''}
  end
end
local value = redis.call('GET', KEYS[2]) or '0'
local counted = string.match(value, '^%d+$') and tonumber(value)
local fence = counted and counted + ARGV[3]
if not fence or fence >= 9007199254740992 then
  return redis.error_reply('ERR redlock: ' .. KEYS[2] .. ' is not a fence counter below 2^53')
end
if counted == 0 or counted < tonumber(ARGV[8]) then
  local time = redis.call('TIME')
  local second = time[1] * 1000000
  local ceiling = second + time[2] + ARGV[7] * 1000
  fence = math.max(counted, second, math.min(tonumber(ARGV[4]), ceiling)) + ARGV[3]
end
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[6])
if unmarked then redis.call('ZADD', KEYS[3], 'XX', unmarked, ARGV[5]) end
if reserved then redis.call('DEL', KEYS[4]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, fence, waiters}
