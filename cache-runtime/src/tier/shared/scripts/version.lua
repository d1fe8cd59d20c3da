-- Reads a tag's version. If it is absent, the random number becomes the version. The version is
-- made to outlive the entry that will carry it. A fence is returned as it is, and does not live
-- longer.
-- If this is late, it leaves a version that no entry carries yet, or one that lives longer.
-- KEYS[1] version   ARGV[1] random number   ARGV[2] milliseconds
local version = redis.call('GET', KEYS[1])
if not version then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
if string.sub(version, 1, 2) ~= 'F\1' and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return version
