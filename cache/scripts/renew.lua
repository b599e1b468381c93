-- Renews the leases of loads that are still running.
-- KEYS  leases
-- ARGV  1 ms that a lease lasts, 2… the nonce of each
-- Reply the number of leases that are still valid.
local stand = 0
for i, lease in ipairs(KEYS) do
  if redis.call('HGET', lease, 'by') == ARGV[i + 1] then
    stand = stand + redis.call('PEXPIRE', lease, ARGV[1])
  end
end
return stand
