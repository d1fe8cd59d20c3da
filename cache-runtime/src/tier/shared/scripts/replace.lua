-- Replaces an entry that still has the mark that was seen by another one, which ends when that one would have
-- ended.
-- If this is late, the entry has another mark or is gone, and it does nothing.
-- Tells the processes that keep copies.
-- KEYS[1] slot   ARGV[1] mark seen   ARGV[2] entry   ARGV[3] channel   ARGV[4] notice
if redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
redis.pcall('PUBLISH', ARGV[3], ARGV[4])
return 1
