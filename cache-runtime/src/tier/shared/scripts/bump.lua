-- Moves a tag's version on, if it has one: an absent version is on no valid entry.
-- Where `INCR` is refused (no memory left, not a number), the version goes instead; a fence,
-- which is no number either, is spared.
-- KEYS[1] version
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local bumped = redis.pcall('INCR', KEYS[1])
if type(bumped) == 'table' and bumped.err and redis.pcall('GETRANGE', KEYS[1], 0, 1) ~= 'F\1' then
  redis.call('UNLINK', KEYS[1])
end
return 1
