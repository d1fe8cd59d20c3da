-- Releases a lock, if it is held by this owner; its token is remembered. Returns whether it was held by it.
-- If this is late, it releases nothing that another owner holds.
-- KEYS[1] key   ARGV[1] owner   ARGV[2] milliseconds for which it is remembered
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)
local token, ends, owner = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+) (.*)$')
if owner ~= ARGV[1] or tonumber(ends) <= now then
  return 0
end
local written = redis.pcall('SET', KEYS[1], token .. ' 0 ', 'PX', ARGV[2])
if written.err then
  -- A server without memory left takes no write, and lets a key go. Then tokens grow by the clock only.
  redis.call('UNLINK', KEYS[1])
end
return 1
