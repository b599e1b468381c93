-- Marks an entry as due for a new load, and ends its lease, so that a value that was loaded before does not replace it as new.
-- KEYS  entry, lease
-- ARGV  1 channel of drops
-- Reply 1.
local e = redis.call('GET', KEYS[1])
if e then
  local before, after = string.match(e, '^([wn] %d+ )%d+( .*)$')
  local left = redis.call('PTTL', KEYS[1])
  if before and left > 0 then redis.call('SET', KEYS[1], before .. '1' .. after, 'PX', left) end
end
finish(KEYS[2], KEYS[1])
redis.call('PUBLISH', ARGV[1], KEYS[1])
return 1
