-- Grants the key to a value, or names its holder and queues the process that asks. It keeps its place until it leaves: what
-- this node grants may be an attempt that fails by the others. A process that looks is alive, so the mark of wake.lua goes.
-- Each look of a waiter is announced to the holder, which may have missed the one before.
-- KEYS  lock, fence, queue, next
-- ARGV  1 value, 2 ttl ms, 3 span, 4 floor µs (the client's clock), 5 process, 6 retention of the fence ms, 7 max ttl ms,
--       8 boot µs (0: not known), 9 '1' or '3' to be queued on refusal; '2' or '3' where a transaction came before (native.go)
-- Reply {1, fence, other processes queued} granted; {0, ms until it may be free (-1: not known), holder's value} refused.
-- A user may lack the right to a command, which ends the script there. So all that is read, and PUBLISH, comes before
-- anything is written, a TTL before what it is for, and the key itself last: no key is left without its TTL, no counter
-- without its floor, and no turn is lost. Mostly there is neither holder nor company.
local waiters, reserved, unmarked = 0, false, nil
if redis.call('EXISTS', KEYS[1], KEYS[3], KEYS[4]) > 0 then
  local first = redis.call('ZRANGE', KEYS[3], '0', '0', 'WITHSCORES')
  -- Others that wait; one more where this process does, and others came before it.
  waiters = redis.call('ZCARD', KEYS[3]) - (first[1] == ARGV[5] and 1 or 0)
  local holder = redis.call('GET', KEYS[1])
  -- What a transaction left is no answer: the counter may have been lost, or not have moved at all.
  local fence = holder == ARGV[1] and (ARGV[9] == '' or ARGV[9] == '1') and tonumber(redis.call('GET', KEYS[2]))
  if fence then return {1, fence, waiters} end -- delivered again
  reserved = redis.call('GET', KEYS[4])
  local place = first[1] == ARGV[5] and tonumber(first[2]) or 0
  local mark = place % (place < 2251799813685248 and 1 or 4) -- see wake.lua
  if mark > 0 then unmarked = string.format('%.0f', place - mark) end

  if (holder and holder ~= ARGV[1]) or (not holder and reserved and reserved ~= ARGV[5]) then
    local left = redis.call('PTTL', holder and KEYS[1] or KEYS[4])
    if ARGV[9] == '1' or ARGV[9] == '3' then
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

local fence, unusable = draw(KEYS[2], ARGV[3], ARGV[4], ARGV[7], ARGV[8])
if unusable then return unusable end
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[6])
if unmarked then redis.call('ZADD', KEYS[3], 'XX', unmarked, ARGV[5]) end
if reserved then redis.call('DEL', KEYS[4]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, fence, waiters}
