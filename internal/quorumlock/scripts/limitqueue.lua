-- Queues a waiter for a slot, and says so to those that have slots.

-- Notifies the process of a value that another waits, once.
local function tell(value, told)
  local process = string.match(value, '^([^/]+)/')
  if not process or told[process] then return end
  told[process] = true
  redis.call('PUBLISH', 'redlock:wake:' .. process, 'q' .. KEYS[1])
end

-- Notifies the processes that have slots, but one: of many slots some, from a start that is another each time.
local function announce(number, start, but)
  local some, told = {}, {[but] = true}
  for i = 0, math.min(number, 64) - 1 do some[i + 1] = (start + i) % number end
  for _, entry in ipairs(redis.call('HMGET', KEYS[5], unpack(some))) do
    tell(string.match(entry or '', '^%d+ (.*)$') or '', told)
  end
end

-- Puts a waiter to the end of the queue, unless it stands there. Places are as in wake.lua.
local function enqueue(waiter, ttl)
  local there = redis.call('PEXPIRE', KEYS[3], ttl)
  local time = redis.call('TIME')
  local last = time[1] * 1000000 + time[2]
  last = last - last % (last < 2251799813685248 and 1 or 4)
  redis.call('ZADD', KEYS[3], 'NX', string.format('%.0f', last), waiter)
  if there == 0 then redis.call('PEXPIRE', KEYS[3], ttl) end
end

