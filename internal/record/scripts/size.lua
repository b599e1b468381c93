-- KEYS  record
-- Reply as that of read.lua, with the size of the data in bytes in place of the data.
local r = redis.call('HMGET', KEYS[1], 'token', 'seq', 'origin', 'deleted', 'data')
if not r[1] then return {} end
if r[5] then r[5] = tostring(#r[5]) end
return r
