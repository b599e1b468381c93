-- The beginning of every script: it continues if no newer token of its lock was seen, and keeps its token.
-- A guard is a hash: "newest" is the newest token of a writer, "read" that of a reader (see seen.go). Guards are written
-- before the data, so no data is written that an older writer could overwrite. If a command after that is refused, such as
-- for a missing right, the guards have the token and the data is unchanged.
-- KEYS  guards, then those of the data
-- ARGV  1 token, 2 ms to keep the guards (0: for ever), 3 number of guards, 4 the field of its mode, then those of the script
-- Reply {0, newest, its field} refused; {1, reply of the command} otherwise.
local guards = tonumber(ARGV[3])
local function refusal()
  local token, keep, mode, raised = tonumber(ARGV[1]), ARGV[2], ARGV[4], {}
  for i = 1, guards do
    local seen = {newest = redis.call('HGET', KEYS[i], 'newest') or '0', read = redis.call('HGET', KEYS[i], 'read') or '0'}
    if not (string.match(seen.newest, '^%d+$') and string.match(seen.read, '^%d+$')) then
      return redis.error_reply('ERR redlock: ' .. KEYS[i] .. ' is not a guard of fencing tokens; delete it as Redis.Forget does')
    end
    local writer, reader = tonumber(seen.newest), tonumber(seen.read)
    if mode == 'newest' and reader >= math.max(token, writer) then return {0, seen.read, 'read'} end
    if writer > token then return {0, seen.newest, 'newest'} end
    raised[i] = tonumber(seen[mode]) < token
  end
  for i = 1, guards do
    local there = 1
    if keep == '0' then
      redis.call('PERSIST', KEYS[i])
    else
      there = redis.call('PEXPIRE', KEYS[i], keep) -- first, so that no guard is left without its TTL if it is refused
    end
    if raised[i] then redis.call('HSET', KEYS[i], mode, ARGV[1]) end
    if there == 0 then redis.call('PEXPIRE', KEYS[i], keep) end
  end
end
