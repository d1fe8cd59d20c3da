-- Puts a lease into a slot that still holds what the caller saw.
-- KEYS[1] slot   ARGV[1] the first bytes seen ('' for none)   ARGV[2] lease   ARGV[3] milliseconds
local unchanged
if ARGV[1] == '' then
  unchanged = redis.call('STRLEN', KEYS[1]) == 0
else
  unchanged = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) == ARGV[1]
end
if not unchanged then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
