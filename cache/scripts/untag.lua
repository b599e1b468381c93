-- Takes the versions from tags: what was stored or is being loaded under them is no longer valid.
-- KEYS  tags
-- ARGV  1 channel of drops
-- Reply 1.
for _, key in ipairs(KEYS) do redis.call('DEL', key) end
redis.call('PUBLISH', ARGV[1], '')
return 1
