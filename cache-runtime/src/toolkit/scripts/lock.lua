-- Takes a lock, unless it is held. What is stored is its last token, when it ends, in milliseconds of this
-- server's clock, and its owner: so the token of the next holder is a greater one, also if the clock has
-- gone back. Returns 1 and the token, or 0 and for how many milliseconds it is held at most.
-- If this is late, the lock is taken for an owner that has had an error, until it ends.
-- KEYS[1] key   ARGV[1] owner   ARGV[2] milliseconds   ARGV[3] milliseconds for which it is remembered
-- ARGV[4] '1' if no other attempt has this owner: what it holds, it has taken by a request whose answer was lost
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local last, ends, owner = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+) (.*)$')
if ends and tonumber(ends) > now and (ARGV[4] ~= '1' or owner ~= ARGV[1]) then
  return {0, tonumber(ends) - now}
end
local token = string.format('%.0f', math.max(tonumber(last or 0) + 1, micros))
local held = token .. ' ' .. string.format('%.0f', now + ARGV[2]) .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], held, 'PX', string.format('%.0f', ARGV[2] + ARGV[3]))
return {1, tonumber(token)}
