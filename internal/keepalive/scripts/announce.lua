-- KEYS  lock
-- ARGV  1 channel
return redis.call('PUBLISH', ARGV[1], '')
