-- Writes an entry over anything that the slot holds, except for a fence.
-- KEYS[1] slot   ARGV[1] entry   ARGV[2] milliseconds
if redis.pcall('GETRANGE', KEYS[1], 0, 1) == 'F\1' then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
