-- Takes the lock under which one caller refreshes an entry that others are served meanwhile. Returns 1 if it
-- is taken now, and 0 if another caller has it. After a load that failed, a mark stands in its place, which
-- keeps others from trying again at once: returns its milliseconds, doubled and negative; one less if old
-- values are not served in the place of that error.
-- The lock spares loads, and keeps nothing old from being stored: what a refresh replaces is compared.
-- If this is late, no caller refreshes until the lock ends.
-- KEYS[1] lock   ARGV[1] owner   ARGV[2] milliseconds
local held = redis.pcall('GET', KEYS[1])
if held == 'failed' then
  return -2 * math.max(redis.call('PTTL', KEYS[1]), 1)
elseif held == 'refused' then
  return -2 * math.max(redis.call('PTTL', KEYS[1]), 1) - 1
elseif held then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
