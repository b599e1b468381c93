-- KEYS  entries
-- ARGV  1 stamp that they have to be newer than, 2 run of the server, 3 prefix of tags
-- Reply each entry, or nil where none is valid.
local found = {}
for i, key in ipairs(KEYS) do
  local e = redis.call('GET', key)
  found[i] = valid(e, ARGV[1], ARGV[2], ARGV[3]) and e
end
return found
