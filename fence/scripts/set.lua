-- ARGV  5 value, then options of SET
return refusal() or {1, redis.call('SET', KEYS[guards + 1], unpack(ARGV, 5))}
