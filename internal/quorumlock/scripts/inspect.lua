-- Says how a lock stands on this node. It changes nothing, and no key that something else has taken makes it fail.
-- KEYS  lock, fence, queue, next, readers
-- ARGV  1 how many of the processes that wait to name
-- Reply {1 if a value is there, 2 if something else, else 0; value; ms left (-1: it never expires); fence;
--        number of processes queued; {process, µs at which it queued, …}; {a reader's value, ms left, …}, 64 at most}
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return nil, true end
  return reply or nil
end
local kind, value, wrong = 0, try('GET', KEYS[1])
if value then kind = 1 elseif wrong then kind = 2 end
local left = redis.call('PTTL', KEYS[1])
local fence = try('GET', KEYS[2]) or ''
local queued = try('ZCARD', KEYS[3]) or 0
local first = {}
if queued > 0 and tonumber(ARGV[1]) > 0 then
  first = try('ZRANGE', KEYS[3], 0, tonumber(ARGV[1]) - 1, 'WITHSCORES') or {}
end
local readers = {}
if value == 'shared' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local words = try('ZRANGE', KEYS[5], 0, -1, 'WITHSCORES') or {}
  for i = 1, math.min(#words, 128), 2 do
    readers[i], readers[i + 1] = words[i], words[i + 1] - now
  end
end
return {kind, value or '', left, fence, queued, first, readers}
