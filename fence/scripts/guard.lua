-- The beginning of every script: it continues if no newer token of its lock was seen, and keeps its token.
-- A guard is a hash whose field "newest" is the newest token of a writer. Guards are written before the data, so no data is
-- written that an older writer could overwrite. If a command after that is refused, such as for a missing right, the guards
-- have the token and the data is unchanged.
-- KEYS  guards, then those of the data
-- ARGV  1 token, 2 ms to keep the guards (0: for ever), 3 number of guards, then those of the script
-- Reply {0, newest} refused; {1, reply of the command} otherwise.
local guards = tonumber(ARGV[3])
local function refusal()
  local token, keep, raised = tonumber(ARGV[1]), ARGV[2], {}
  for i = 1, guards do
    local newest = redis.call('HGET', KEYS[i], 'newest') or '0'
    if not string.match(newest, '^%d+$') then
      return redis.error_reply('ERR redlock: ' .. KEYS[i] .. ' is not a guard of fencing tokens; delete it as Redis.Forget does')
    end
    if tonumber(newest) > token then return {0, newest} end
    raised[i] = tonumber(newest) < token
  end
  for i = 1, guards do
    local there = 1
    if keep == '0' then
      redis.call('PERSIST', KEYS[i])
    else
      there = redis.call('PEXPIRE', KEYS[i], keep) -- first, so that no guard is left without its TTL if it is refused
    end
    if raised[i] then redis.call('HSET', KEYS[i], 'newest', ARGV[1]) end
    if there == 0 then redis.call('PEXPIRE', KEYS[i], keep) end
  end
end
