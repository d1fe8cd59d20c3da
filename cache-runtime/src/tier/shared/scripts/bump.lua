-- Counts a tag's version up. An absent version stays absent: no valid entry carries it. If `INCR`
-- is refused (no memory left, not a number), the version is removed instead. A fence, which is no
-- number either, stays.
-- If this is late, it costs the newer entries that carry the tag.
-- Tells the processes that keep copies, also where the version is absent. One that may not publish
-- invalidates all the same.
-- KEYS[1] version   ARGV[1] channel   ARGV[2] notice
local exists = redis.call('EXISTS', KEYS[1])
if exists == 1 then
  local bumped = redis.pcall('INCR', KEYS[1])
  if type(bumped) == 'table' and bumped.err and redis.pcall('GETRANGE', KEYS[1], 0, 1) ~= 'F\1' then
    redis.call('UNLINK', KEYS[1])
  end
end
redis.pcall('PUBLISH', ARGV[1], ARGV[2])
return exists
