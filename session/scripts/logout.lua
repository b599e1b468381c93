-- Logs a user out everywhere: ends every session whose issue is older than the version.
-- KEYS  2 epoch of the user
-- ARGV  5 memory   6 how long it is kept, ms   7 version
-- Reply {'ok', memory}, {'memory', memory}, or {'newer', memory, version}: a session or a log-out on this node is newer
if memory ~= ARGV[5] then return {'memory', memory} end
local h = redis.call('HMGET', KEYS[2], 'top', 'all')
local top, all = h[1] or '', h[2] or ''
if all ~= ARGV[7] then
  if top > all then all = top end
  if all > ARGV[7] then return {'newer', memory, all} end
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
  redis.call('HSET', KEYS[2], 'all', ARGV[7], 'by', '')
end
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return {'ok', memory}
