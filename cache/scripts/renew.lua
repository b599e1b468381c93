-- Renews leases whose loads go on.
-- KEYS  leases
-- ARGV  1 ms that a lease lasts, 2… the nonce of each
-- Reply the number of those that stand.
local stand = 0
for i, lease in ipairs(KEYS) do
  if redis.call('HGET', lease, 'by') == ARGV[i + 1] then
    stand = stand + redis.call('PEXPIRE', lease, ARGV[1])
  end
end
return stand
