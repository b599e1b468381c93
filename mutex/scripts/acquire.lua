-- Grants the key to a value, or says who has it and queues the process that asks.
-- KEYS  lock, fence, queue, next
-- ARGV  1 value, 2 ttl ms, 3 span, 4 floor µs (the client's clock), 5 boot µs (0: not known), 6 process,
--       7 '1' to be queued on refusal, 8 retention of the fence ms, 9 max ttl ms
-- Reply {1, fence, processes queued} granted; {0, ms until it may be free (-1: not known), holder's value} refused.
-- Everything that can fail is read before anything is written.
local holder = redis.call('GET', KEYS[1])
local counter = redis.call('GET', KEYS[2])
local fence = tonumber(counter)
if counter and not (fence and string.match(counter, '^%d+$')) then
  return redis.error_reply('ERR redlock: ' .. KEYS[2] .. ' is not a fence counter')
end
if holder == ARGV[1] and fence then
  return {1, fence, redis.call('ZCARD', KEYS[3])} -- delivered again
end
local reserved = redis.call('GET', KEYS[4])
local waiters = redis.call('ZCARD', KEYS[3])

if (holder and holder ~= ARGV[1]) or (not holder and reserved and reserved ~= ARGV[6]) then
  local left = redis.call('PTTL', holder and KEYS[1] or KEYS[4])
  if ARGV[7] == '1' then
    local time = redis.call('TIME')
    redis.call('ZADD', KEYS[3], 'NX', time[1] .. string.format('%06d', tonumber(time[2])), ARGV[6])
    redis.call('PEXPIRE', KEYS[3], ARGV[9])
    local process = holder and string.match(holder, '^([^/]+)/')
    if waiters == 0 and process then
      redis.call('PUBLISH', 'redlock:wake:' .. process, 'q' .. KEYS[1])
    end
  end
  return {0, left, holder or ''}
end

local boot = tonumber(ARGV[5])
if not fence or fence < boot then
  local time = redis.call('TIME')
  local second = time[1] * 1000000
  local ceiling = second + time[2] + ARGV[9] * 1000
  fence = math.max(fence or 0, second, math.min(tonumber(ARGV[4]), ceiling))
end
fence = fence + tonumber(ARGV[3])
if fence >= 9007199254740992 then
  return redis.error_reply('ERR redlock: the fence counter ' .. KEYS[2] .. ' is out of range')
end
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[8])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if reserved then redis.call('DEL', KEYS[4]) end
if waiters > 0 then waiters = waiters - redis.call('ZREM', KEYS[3], ARGV[6]) end
return {1, fence, waiters}
