-- Makes a lease live longer, while its load runs.
-- No other lease has these bytes. If this is late, a lease without a load lives longer once.
-- KEYS[1] slot   ARGV[1] lease   ARGV[2] milliseconds
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
