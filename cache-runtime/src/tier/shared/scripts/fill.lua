-- Replaces what the caller saw, by the entry: the lease for which it was loaded or, if it is set by
-- hand, an entry. If anything else is in the slot, it stays. No two leases and no two entries begin
-- alike. So if this is late, an invalidation has removed what the caller saw, or has moved on a
-- version that the entry carries.
-- KEYS[1] slot   ARGV[1] the first bytes seen   ARGV[2] entry   ARGV[3] milliseconds
if redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1
end
return 0
