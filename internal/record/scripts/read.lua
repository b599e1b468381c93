-- KEYS  record
-- Reply {} none; {token, sequence, origin, '1' for a deletion, data} as strings.
local r = redis.call('HMGET', KEYS[1], 'token', 'seq', 'origin', 'deleted', 'data')
if not r[1] then return {} end
return r
