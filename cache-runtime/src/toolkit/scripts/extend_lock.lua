-- Lets a lock end so many milliseconds from now, if it is held by this owner. Returns whether it is.
-- If this is late, the lock is held for longer than its holder counts on.
-- KEYS[1] key   ARGV[1] owner   ARGV[2] milliseconds   ARGV[3] milliseconds for which it is remembered
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)
local token, ends, owner = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+) (.*)$')
if owner ~= ARGV[1] or tonumber(ends) <= now then
  return 0
end
local held = token .. ' ' .. string.format('%.0f', now + ARGV[2]) .. ' ' .. owner
redis.call('SET', KEYS[1], held, 'PX', string.format('%.0f', ARGV[2] + ARGV[3]))
return 1
