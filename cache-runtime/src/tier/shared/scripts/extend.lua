-- Makes a version outlive an entry whose ttl was not known yet when the version was read. An absent
-- version stays absent, and a fence does not live longer. If this is late, a version lives longer.
-- KEYS[1] version   ARGV[1] milliseconds
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left >= tonumber(ARGV[1]) then
  return 0
end
if redis.pcall('GETRANGE', KEYS[1], 0, 1) == 'F\1' then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
