local refused = refusal()
if refused then return refused end
local deleted = 0
for i = guards + 1, #KEYS do deleted = deleted + redis.call('DEL', KEYS[i]) end
return {1, deleted}
