-- Keeps a record if it is newer than what the node has, and if its writer has not been overtaken.
-- KEYS  record, fence
-- ARGV  1 token, 2 sequence, 3 origin, 4 '1' for a deletion, 5 data, 6 ttl ms, 7 largest fence that does not overtake
-- Reply {1} kept, or kept before; {0, token} refused: something newer is known by that token.
local fence = tonumber(redis.call('GET', KEYS[2])) or 0
if fence > tonumber(ARGV[7]) then return {0, fence} end
local have = redis.call('HMGET', KEYS[1], 'token', 'seq')
local token, seq = tonumber(have[1]) or 0, tonumber(have[2]) or -1
local mine, number = tonumber(ARGV[1]), tonumber(ARGV[2])
if token > mine or (token == mine and seq > number) then return {0, token} end
if token == mine and seq == number then return {1} end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'seq', ARGV[2], 'origin', ARGV[3], 'deleted', ARGV[4], 'data', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return {1}
