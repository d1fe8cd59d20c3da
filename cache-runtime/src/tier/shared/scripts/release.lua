-- Gives a lease back, so that the next caller does not wait until it expires.
-- KEYS[1] slot   ARGV[1] lease
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('UNLINK', KEYS[1])
end
return 0
