-- Replaces a lease by the entry for which it was taken. If anything else is in the slot, it stays.
-- KEYS[1] slot   ARGV[1] lease   ARGV[2] entry   ARGV[3] milliseconds
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1
end
return 0
