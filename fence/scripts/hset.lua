-- ARGV  5 field, 6 value, and so on
local key = KEYS[guards + 1]
redis.call('HLEN', key) -- fails here if key is no hash, and not after the guards are written
local refused = refusal()
if refused then return refused end
local new = 0
for i = 5, #ARGV, 1000 do -- unpack can do no more than some thousands
  new = new + redis.call('HSET', key, unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
return {1, new}
