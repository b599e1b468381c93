-- Announces to all processes that read a key that another waits to write. On a Redis Cluster, that one is taken to live
-- for a while.
-- KEYS  lock, readers
-- ARGV  1 the process that waits, 2 ms for which it is taken to live (0: it is not a Redis Cluster)
-- Reply 1 announced, 0 nobody reads.
if redis.call('GET', KEYS[1]) ~= 'shared' then return 0 end
local live, _, _, now = reading(KEYS[2])
local told = {}
for value in pairs(live) do
  local process = string.match(value, '^([^/]+)/')
  if not told[process] then redis.call('PUBLISH', 'redlock:wake:' .. process, 'q' .. KEYS[1]) end
  told[process] = true
end
if ARGV[2] ~= '0' and next(live) then redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[2]), ARGV[1]) end
return 1
