-- Returns the number to which span more lifts a fence counter, or nothing and an error. A counter that is not there, or
-- is below the node's floor (boot), may have been lost: it starts from the clock.
local function draw(key, span, clock, maxTTL, boot)
  local value = redis.call('GET', key) or '0'
  local counted = string.match(value, '^%d+$') and tonumber(value)
  local fence = counted and counted + span
  if not fence or fence >= 9007199254740992 then
    return nil, redis.error_reply('ERR redlock: ' .. key .. ' is not a fence counter below 2^53')
  end
  if counted == 0 or counted < tonumber(boot) then
    local time = redis.call('TIME')
    local second = time[1] * 1000000
    local ceiling = second + time[2] + maxTTL * 1000
    fence = math.max(counted, second, math.min(tonumber(clock), ceiling)) + span
  end
  return fence
end
