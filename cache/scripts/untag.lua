-- Deletes the version of a tag: entries that were stored or are being loaded with the tag are no longer valid.
-- KEYS  1 tag, 2 its deletion, 3 count of deletions
-- ARGV  1 channel of drops, 2 ms that a load may take, for which the deletion is remembered
-- Reply 1.
-- A missing right is reported before the version is deleted. PEXPIRE is the first write, because a server that is out of
-- memory refuses only the first write of a script, but never PEXPIRE.
local now = redis.call('TIME')
local count = math.max((tonumber(redis.call('GET', KEYS[3])) or 0) + 1, now[1] * 1000000 + now[2])
count = string.format('%.0f', count)
redis.call('PUBLISH', ARGV[1], '')
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('SET', KEYS[2], count, 'PX', ARGV[2])
redis.call('SET', KEYS[3], count)
redis.call('DEL', KEYS[1])
return 1
