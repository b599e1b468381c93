-- Returns a part of a user's sessions, ordered by absolute deadline.
-- KEYS  2 index of a user
-- ARGV  5 user   6 the deadline to begin with   7 the largest number of sessions
-- Reply {'ok', memory, logged out, {hash, record, …}, deadline of the last one if there may be more, or ''}
local part = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[6], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[7])
local all = {}
for k = 1, #part, 2 do
  all[k] = part[k]
  all[k + 1] = redis.call('HGETALL', prefix .. part[k])
end
local last = ''
if #part == 2 * tonumber(ARGV[7]) then last = string.format('%016.0f', tonumber(part[#part])) end
return {'ok', memory, loggedOut(ARGV[5]), all, last}
