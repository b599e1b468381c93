-- The caller's script takes the place of the line "SCRIPT", with KEYS and ARGV of its own.
local refused = refusal()
if refused then return refused end
local function run(KEYS, ARGV)
-- SCRIPT
end
local keys, args = {}, {}
for i = guards + 1, #KEYS do keys[i - guards] = KEYS[i] end
for i = 5, #ARGV do args[i - 4] = ARGV[i] end
local reply = run(keys, args)
if type(reply) == 'table' and reply.err then return reply end
return {1, reply}
