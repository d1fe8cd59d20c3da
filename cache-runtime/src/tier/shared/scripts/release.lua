-- Gives a lease back, so that the next caller does not wait until it expires. Or removes the entry that
-- a load was to replace, and whose value is not to be stored.
-- No other lease and no other entry begins with these bytes, so this is harmless however late it is.
-- KEYS[1] slot   ARGV[1] lease, or the mark of an entry
if redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) == ARGV[1] then
  return redis.call('UNLINK', KEYS[1])
end
return 0
