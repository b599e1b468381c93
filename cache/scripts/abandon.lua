-- Ends the lease of a failed load, and returns the entry that can still be served.
-- KEYS  entry, lease
-- ARGV  1 nonce, 2 stamp that an entry has to be newer than, 3 run of the server, 4 prefix of tags
-- Reply the entry, or nil if none is valid.
if redis.call('HGET', KEYS[2], 'by') == ARGV[1] then finish(KEYS[2], KEYS[1]) end
local e = redis.call('GET', KEYS[1])
return valid(e, ARGV[2], ARGV[3], ARGV[4]) and e
