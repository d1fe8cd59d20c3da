-- Replaces what the caller saw, by the entry: the lease for which it was loaded or, if it is set by
-- hand, an entry. If anything else is in the slot, it stays. No two leases and no two entries begin
-- alike. So if this is late, an invalidation has removed what the caller saw, or has moved on a
-- version that the entry carries.
-- With a channel, the entry replaces another: the processes that keep copies of that are told.
-- KEYS[1] slot   ARGV[1] the first bytes seen   ARGV[2] entry   ARGV[3] milliseconds
-- ARGV[4] channel, if any   ARGV[5] notice
if redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  if ARGV[4] then
    redis.pcall('PUBLISH', ARGV[4], ARGV[5])
  end
  return 1
end
return 0
