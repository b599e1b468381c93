-- Keeps a record if it is newer than what the node has, and if its writer has not been overtaken by a promise. The same
-- version again is kept for ttl from now on.
-- KEYS  record, promise
-- ARGV  1 token, 2 sequence, 3 origin, 4 '1' for a deletion, 5 data, 6 ttl ms
-- Reply {1} kept; {0, token} refused: something newer is known by that token.
local have = redis.call('HMGET', KEYS[1], 'token', 'seq')
local token, seq = tonumber(have[1]) or 0, tonumber(have[2]) or -1
local mine, number = tonumber(ARGV[1]), tonumber(ARGV[2])
local newest = math.max(token, tonumber(redis.call('GET', KEYS[2])) or 0)
if newest > mine or (token == mine and seq > number) then return {0, newest} end
local there = redis.call('PEXPIRE', KEYS[1], ARGV[6]) -- first, so that no record is left without its TTL if it is refused
if token < mine or seq < number then
  redis.call('HSET', KEYS[1], 'token', ARGV[1], 'seq', ARGV[2], 'origin', ARGV[3], 'deleted', ARGV[4], 'data', ARGV[5])
end
if there == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
return {1}
