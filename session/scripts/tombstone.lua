-- KEYS  2 record
-- ARGV  5 memory   6 hash   7 absolute deadline of a session that this node lacks, '' to skip such a session
--       8 present if the session took part in a contest and concedes to its rivals
-- Reply {'ok', memory, absolute deadline or '', successor or ''}, {'none', memory}, or {'memory', memory}
if memory ~= ARGV[5] then return {'memory', memory} end
local r = redis.call('HMGET', KEYS[2], 'x', 'h', 'to')
local h = r[2]
local function concede()
  if ARGV[8] then redis.call('HSET', KEYS[2], 'lost', '1') end
end
if r[1] then
  concede()
  return {'ok', memory, '', r[3] or ''}
end
if not h and ARGV[7] == '' then return {'none', memory} end
local last = h and deadline(h) or ARGV[7]
bury(KEYS[2], h, ARGV[6], last)
concede()
return {'ok', memory, last, ''}
