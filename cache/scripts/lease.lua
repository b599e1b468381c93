-- Returns the entry if it is valid, and otherwise whether the caller may load.
-- KEYS  entry, lease
-- ARGV  1 nonce, 2 ms that the lease lasts, 3 stamp that an entry has to be newer than, 4 run of the server,
--       5 process to wake when another's lease ends ('': none), 6 prefix of tags, 7 ms that tags last,
--       8 nonce of the caller's previous request, whose lease it takes over, 9 count of deletions of tags ('': tags are not in use),
--       10… tags
-- Reply {2, entry}; {1} the lease is granted; {0, ms left} another caller holds it.
local e = redis.call('GET', KEYS[1])
if valid(e, ARGV[3], ARGV[4], ARGV[6]) then return {2, e} end
local by = redis.call('HGET', KEYS[2], 'by')
if by and by ~= ARGV[1] and by ~= ARGV[8] then
  local left = redis.call('PTTL', KEYS[2])
  if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], 'w' .. ARGV[5], '1') end
  return {0, left}
end
-- The tags' versions and the count of deletions are from before the load, so that a deletion during the load is noticed.
local deletions = ARGV[9] ~= '' and redis.call('GET', ARGV[9]) or '0'
-- The TTL is set first, because a user may lack the right to set it: a lease that never expires would block all loads.
local tags = label(10, ARGV[6], ARGV[1], ARGV[7])
local there = redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[2], 'by', ARGV[1], 'tags', tags, 'deletions', deletions)
if there == 0 then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
return {1}
