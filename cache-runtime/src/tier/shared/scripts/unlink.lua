-- Removes what these keys hold, and returns how many there were. Fences stay: their writers are still at
-- work.
-- If this is late, it costs what was stored meanwhile.
-- With a channel, tells the processes that keep copies, whatever these keys hold. One that may not publish
-- invalidates all the same.
-- KEYS slots or versions   ARGV[1] channel, if any   ARGV[2] notice
local removed = {}
for _, key in ipairs(KEYS) do
  if redis.pcall('GETRANGE', key, 0, 1) ~= 'F\1' then
    removed[#removed + 1] = key
  end
end
local count = 0
if #removed > 0 then
  count = redis.call('UNLINK', unpack(removed))
end
if ARGV[1] then
  redis.pcall('PUBLISH', ARGV[1], ARGV[2])
end
return count
