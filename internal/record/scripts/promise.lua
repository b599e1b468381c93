-- Promises a writer that no older one is listened to any more, and says what there is.
-- KEYS  record, promise
-- ARGV  1 token, 2 ms to keep the promise
-- Reply as that of read; {token} refused: something newer is known by that token.
local r = redis.call('HMGET', KEYS[1], 'token', 'seq', 'origin', 'deleted', 'data')
local newest = math.max(tonumber(r[1]) or 0, tonumber(redis.call('GET', KEYS[2])) or 0)
if newest > tonumber(ARGV[1]) then return {newest} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if not r[1] then return {} end
return r
