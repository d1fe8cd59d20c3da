-- Puts a lease into a slot that still holds what the caller saw. A fence is never replaced, though
-- what the caller saw may be its beginning: a value that was cut off or foreign.
-- If this is late, its caller has given up and fills nothing: callers wait for the lease, at most
-- until it ends.
-- KEYS[1] slot   ARGV[1] the first bytes seen ('' for none)   ARGV[2] lease   ARGV[3] milliseconds
local unchanged
if ARGV[1] == '' then
  unchanged = redis.call('STRLEN', KEYS[1]) == 0
else
  local is = redis.call('GETRANGE', KEYS[1], 0, 9)
  unchanged = string.sub(is, 1, #ARGV[1]) == ARGV[1] and string.sub(is, 1, 2) ~= 'F\1'
end
if not unchanged then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
