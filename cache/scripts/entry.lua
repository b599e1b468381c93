-- An entry is a line of facts, a line for each tag, and the data:
--   kind stamp soft hard delta run tags LF   version tag LF …   data
-- kind w: a value, n: known not to exist; v: a value of an older program, treated as missing. stamp: µs of the node's clock when it was stored. soft, hard, delta: ms.
-- run: the run of the server that stored it, '-' if unknown.

-- Reports whether each of count tags, in the lines from at, still has the version in its line.
local function stand(lines, at, count, tags)
  for _ = 1, count do
    local version, tag, following = string.match(lines, '^(%S+) ([^\n]*)\n()', at)
    if not version or redis.call('GET', tags .. tag) ~= version then return false end
    at = following
  end
  return true
end

-- Reports whether a text is an entry that is newer than a stamp, of this run of the server, and not deleted by a tag.
local function valid(e, newer, run, tags)
  if not e then return false end
  local stamp, by, count, at = string.match(e, '^[wn] (%d+) %d+ %d+ %d+ (%S+) (%d+)\n()')
  if not stamp or tonumber(stamp) <= tonumber(newer) or (run ~= '-' and by ~= run) then return false end
  return stand(e, at, tonumber(count), tags)
end

-- Assigns a version to each tag in ARGV from first on that has none, and sets the TTL of all to ttl. Returns their lines.
local function label(first, tags, version, ttl)
  local lines = {}
  for i = first, #ARGV do
    local key = tags .. ARGV[i]
    local v = redis.call('GET', key)
    if not v then
      v = version
      redis.call('SET', key, v, 'PX', ttl)
    elseif redis.call('PTTL', key) < tonumber(ttl) then
      redis.call('PEXPIRE', key, ttl)
    end
    lines[#lines + 1] = v .. ' ' .. ARGV[i] .. '\n'
  end
  return table.concat(lines), #lines
end

-- Ends a lease, and notifies the processes that wait for its end.
local function finish(lease, entry)
  for _, field in ipairs(redis.call('HKEYS', lease)) do
    local process = string.match(field, '^w(.+)')
    if process then redis.call('PUBLISH', 'redlock:cache:wake:' .. process, entry) end
  end
  redis.call('DEL', lease)
end

