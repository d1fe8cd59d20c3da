-- Gives a lease back, so that the next caller does not wait until it expires.
-- No other lease has these bytes, so this is harmless however late it is.
-- KEYS[1] slot   ARGV[1] lease
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('UNLINK', KEYS[1])
end
return 0
