-- Shared by all scripts of this package. A record is a hash
--   h  its head: 32 of the memory under which it was written whole, 16 born, 32 version of its issue (see the epoch), 16
--      absolute deadline, 16 idle deadline, and the user
--   f<name>  32 of version, '=' or '-', value
--   f and a zero byte  its floor: 32 of version, '-', and the floors before it, 32 each, the latest first; see floor.go
-- or a tombstone: x = '1'; optionally to, until: the session that has replaced it, and until when it is reported; and lost = '1'
-- if it took part in a contest and has conceded.
-- The epoch of a user is a hash: all, the version up to which issues have ended; by, the hash of the
-- session that was kept alone, if one was; top, the largest issue.
-- Times are µs of clients' clocks, 16 digits; versions are such a time and 16 digits of hex. Both compare as strings.
-- KEYS  1 memory
-- ARGV  1 run of the server, '' if unknown   2 suffix that distinguishes a memory from others that begin now, '' to begin none
--       3 now   4 prefix
local now, prefix, sub = ARGV[3], ARGV[4], string.sub

-- The memory of this node: when it began, its suffix, and the run. If it is missing, it was lost with all data of the
-- node. If it is of another run, data that was written after the last snapshot may have been lost.
local memory = redis.call('GET', KEYS[1])
if not memory or (ARGV[1] ~= '' and sub(memory, 33) ~= ARGV[1]) then
  memory = ''
  if ARGV[2] ~= '' then
    memory = ARGV[3] .. ARGV[2] .. ARGV[1]
    redis.call('SET', KEYS[1], memory)
  end
end

-- Parses a head.
local function mark(h) return sub(h, 1, 32) end
local function born(h) return sub(h, 33, 48) end
local function issue(h) return sub(h, 49, 80) end
local function deadline(h) return sub(h, 81, 96) end
local function idle(h) return sub(h, 97, 112) end
local function user(h) return sub(h, 113) end
local function idleUntil(h, to) return sub(h, 1, 96) .. to .. user(h) end

local function epoch(user) return prefix .. 'epoch:' .. user end
local function index(user) return prefix .. 'user:' .. user end

-- Returns the version at which the user was last logged out everywhere, or ''.
local function loggedOut(user)
  if user == '' then return '' end
  return redis.call('HGET', epoch(user), 'all') or ''
end

-- Returns the floor of a record.
local floorField = 'f\0'
local function version(field) return sub(field or '', 1, 32) end

-- How long after a session's deadline its record is kept, and how much longer its tombstone, in ms: a node whose clock
-- jumps by less than this neither loses the session nor revives a destroyed one.
local slack, grave = 3600000, 24 * 3600000

-- If a user lacks the right to a command, the script ends there, and its writes remain. So a script first uses each
-- command that it needs without effect before it changes anything. It sets the TTL of a key before it writes the key, and
-- again afterwards if the key did not exist. A server that is out of memory refuses only the first write of a script, and only if
-- it may need memory. A script that makes a session larger begins with such a write; one that ends a session does not.

-- Keeps key, if it exists, until ms after deadline.
local function expire(key, deadline, ms)
  local left = math.max((tonumber(deadline) - tonumber(now)) / 1000, 0) + ms
  redis.call('PEXPIRE', key, string.format('%.0f', left))
end

-- Writes fields of a record, {name, value, …}, with as few commands as the limit on arguments in Lua allows.
local function write(key, fields)
  for k = 1, #fields, 1000 do redis.call('HSET', key, unpack(fields, k, math.min(k + 999, #fields))) end
end

-- Replaces a session with the head h by a tombstone, or puts a tombstone for a session that this node lacks.
local function bury(key, h, hash, deadline)
  local listed = h and user(h) ~= '' and index(user(h))
  expire(key, deadline, grave)
  if h then redis.call('HSET', key, 'h', h) end
  if listed then redis.call('ZREM', listed, '') end
  redis.call('DEL', key)
  redis.call('HSET', key, 'x', '1')
  expire(key, deadline, grave)
  if listed then redis.call('ZREM', listed, hash) end
end
