-- KEYS  2 record
-- ARGV  5 memory   6 hash   7 absolute deadline of a session that is not here, '' to leave alone what is not here
-- Reply {'ok', memory, absolute deadline or '', successor or ''}, {'absent', memory}, or {'memory', memory}
if memory ~= ARGV[5] then return {'memory', memory} end
local h = redis.call('HMGET', KEYS[2], 'x', 'm', 'u', 'e', 'to')
if h[1] then return {'ok', memory, '', h[5] or ''} end
if not h[2] and ARGV[7] == '' then return {'absent', memory} end
bury(KEYS[2], h[3], ARGV[6], h[4] or ARGV[7])
return {'ok', memory, h[4] or ARGV[7], ''}
