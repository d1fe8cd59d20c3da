-- Prepares a slot for a value that is set by hand, and returns what the fill is to replace: an entry
-- stays and is served until then, and anything else but a fence is replaced by a lease.
-- Of an entry it returns so much that the schema version is in it, also where what follows the mark is
-- in base64, of which the twelve characters are nine bytes.
-- If it is late, it leaves a lease that no fill follows: callers wait for it, at most until it ends.
-- KEYS[1] slot   ARGV[1] lease   ARGV[2] milliseconds
local start = redis.pcall('GETRANGE', KEYS[1], 0, 21)
if type(start) == 'string' then
  local kind = string.sub(start, 1, 2)
  if kind == 'F\1' then
    return false
  end
  if kind == 'E\2' and #start == 22 then
    return start
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
