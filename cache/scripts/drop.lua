-- Deletes entries, and ends their leases, so that a value that was loaded before the deletion is not stored after it.
-- KEYS  entry, lease, entry, lease, …
-- ARGV  1 channel of drops
-- Reply 1.
-- The messages are sent first, because a user may lack the right to publish: a deletion that fails halfway is sent again.
for i = 1, #KEYS, 2 do redis.call('PUBLISH', ARGV[1], KEYS[i]) end
for i = 1, #KEYS, 2 do
  redis.call('DEL', KEYS[i])
  finish(KEYS[i + 1], KEYS[i])
end
return 1
