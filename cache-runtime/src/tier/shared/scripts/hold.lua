-- Gives an entry a new mark, which the load that begins now is to replace. What was to replace the
-- entry until now is not stored any more: of two loads, the one that begins later is. The entry is
-- served meanwhile, and ends when it would have ended. One that ends too soon for that is left as it
-- is, for a lease.
-- If this is late, it costs what was about to replace the entry.
-- KEYS[1] slot   ARGV[1] mark seen   ARGV[2] new mark   ARGV[3] milliseconds
if redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then
  return 'changed'
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  return 'ends'
end
local entry = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[2] .. string.sub(entry, #ARGV[2] + 1), 'KEEPTTL')
return 'held'
