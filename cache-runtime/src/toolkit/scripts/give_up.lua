-- Removes an entry to free its memory, unless it was used meanwhile. Leases and fences stay: their holders are
-- at work. Returns whether it is removed.
-- If this is late, it costs what was stored meanwhile.
-- KEYS[1] slot   ARGV[1] 'IDLETIME' or 'FREQ'   ARGV[2] the least idle time, or the greatest frequency
-- ARGV[3] with what an entry begins
local used = redis.pcall('OBJECT', ARGV[1], KEYS[1])
if type(used) ~= 'number' then
  return 0
end
if ARGV[1] == 'IDLETIME' and used < tonumber(ARGV[2]) or ARGV[1] == 'FREQ' and used > tonumber(ARGV[2]) then
  return 0
end
local start = redis.pcall('GETRANGE', KEYS[1], 0, 0)
if type(start) == 'table' and not start.err:find('WRONGTYPE', 1, true) then
  return start
end
if type(start) ~= 'string' or string.sub(start, 1, #ARGV[3]) ~= ARGV[3] then
  return 0
end
return redis.call('UNLINK', KEYS[1])
