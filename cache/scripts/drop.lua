-- Deletes entries, and ends the leases under way, so that what was loaded before is not stored after.
-- KEYS  entry, lease, entry, lease, …
-- ARGV  1 channel of drops
-- Reply 1.
-- The messages come first, for a user may lack the right to them: a deletion that fails halfway is sent again.
for i = 1, #KEYS, 2 do redis.call('PUBLISH', ARGV[1], KEYS[i]) end
for i = 1, #KEYS, 2 do
  redis.call('DEL', KEYS[i])
  finish(KEYS[i + 1], KEYS[i])
end
return 1
