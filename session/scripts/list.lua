-- KEYS  2 index of a user
-- ARGV  5 user
-- Reply {'ok', memory, logged out, {hash, record, …}}
local all = {}
for _, hash in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  all[#all + 1] = hash
  all[#all + 1] = pack(read(prefix .. hash))
end
return {'ok', memory, loggedOut(ARGV[5]), all}
