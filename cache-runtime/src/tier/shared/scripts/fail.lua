-- Puts the mark of a load that failed in the place of the lock under which it ran.
-- No other lock has these bytes. If this is late, others try again a little later.
-- KEYS[1] lock   ARGV[1] owner   ARGV[2] mark   ARGV[3] milliseconds
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1
end
return 0
