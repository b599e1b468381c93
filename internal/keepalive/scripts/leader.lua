-- Who has an election's key, and what the newest leader said of itself.
-- KEYS  lock, record
-- Reply {holder's value or '', ms until it expires, record's token, record's data}
local record = redis.call('HMGET', KEYS[2], 'token', 'data')
return {redis.call('GET', KEYS[1]) or '', redis.call('PTTL', KEYS[1]), tonumber(record[1]) or 0, record[2] or ''}
