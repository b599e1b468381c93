-- What all scripts of this package share. A record is a hash
--   m  the memory under which it was written whole   b  born     v  version of its issue (see the epoch)
--   u  user   e  absolute deadline   i  idle deadline            f<name>  32 of version, '=' or '-', value
-- or a tombstone: m, x = '1', and perhaps to, until: the session that has replaced it, and up to when that is told.
-- Times are µs of clients' clocks, 16 digits; versions are such a time and 16 digits of hex. Both compare as strings.
-- KEYS  1 memory
-- ARGV  1 run of the server, '' if it does not tell   2 what is to tell a memory from others that begin now, '' to begin none
--       3 now   4 prefix
local now, prefix = ARGV[3], ARGV[4]

-- The memory of this node: when it began, what tells it from others, and the run. One that is missing was lost, with all
-- it had; of another run may be what came before the last snapshot, and not what came after.
local memory = redis.call('GET', KEYS[1])
if not memory or (ARGV[1] ~= '' and string.sub(memory, 33) ~= ARGV[1]) then
  memory = ''
  if ARGV[2] ~= '' then
    memory = ARGV[3] .. ARGV[2] .. ARGV[1]
    redis.call('SET', KEYS[1], memory)
  end
end

local function epoch(user) return prefix .. 'epoch:' .. user end
local function index(user) return prefix .. 'user:' .. user end

-- When the user was last logged out everywhere, or ''.
local function loggedOut(user)
  if user == '' then return '' end
  return redis.call('HGET', epoch(user), 'all') or ''
end

-- How long after a session's deadline its record is kept, and how much longer its tombstone is, ms: a node whose clock
-- jumps by less than this does not lose the session, nor bring back what was destroyed.
local slack, grave = 3600000, 24 * 3600000

-- Keeps key until ms after deadline.
local function expire(key, deadline, ms)
  local left = math.max((tonumber(deadline) - tonumber(now)) / 1000, 0) + ms
  redis.call('PEXPIRE', key, string.format('%.0f', left))
end

-- Puts a tombstone in the place of a session of this user.
local function bury(key, user, hash, deadline)
  redis.call('DEL', key)
  redis.call('HSET', key, 'x', '1', 'm', memory)
  expire(key, deadline, grave)
  if user and user ~= '' then redis.call('ZREM', index(user), hash) end
end

-- What is under key: its hash without the fields of the session, and these as a list for pack.
local function read(key)
  local r = redis.call('HGETALL', key)
  local h, fields = {}, {}
  for k = 1, #r, 2 do
    if string.sub(r[k], 1, 1) ~= 'f' then
      h[r[k]] = r[k + 1]
    else
      if #fields == 0 then fields[1] = '' end
      fields[#fields + 1] = string.sub(r[k], 2)
      fields[#fields + 1] = r[k + 1]
    end
  end
  return h, fields
end

-- A record as replies have it: {} for none, {'x' .. until .. to} for a tombstone, and
-- {'+' | '-' .. born .. issue .. absolute deadline .. idle deadline .. user, name, value, …}, with '+' if it was written
-- whole under this memory.
local function pack(h, fields)
  if h.x then return {'x' .. (h['until'] or '') .. (h.to or '')} end
  if next(h) == nil and #fields == 0 then return {} end
  fields[1] = (h.m == memory and '+' or '-') .. h.b .. h.v .. h.e .. h.i .. h.u
  return fields
end
