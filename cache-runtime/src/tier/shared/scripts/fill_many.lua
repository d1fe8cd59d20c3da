-- What `fill.lua` does, for several slots: returns a `1` for each that has its entry now, and a `0` for each
-- that held something else than was seen. Where there is no entry, the lease goes back.
-- All slots are read by one command, which has no error for one that holds no string.
-- If this is late, it does what `fill.lua` and `release.lua` do.
-- KEYS slots   ARGV for each slot: the first bytes seen, the entry ('' for none), milliseconds
local answers = {}
local held = redis.call('MGET', unpack(KEYS))
for at, slot in ipairs(KEYS) do
  local seen, entry, lives = ARGV[3 * at - 2], ARGV[3 * at - 1], ARGV[3 * at]
  local is = held[at]
  local unchanged = is == seen or is and string.sub(is, 1, #seen) == seen
  if unchanged and entry == '' then
    redis.call('UNLINK', slot)
  elseif unchanged then
    redis.call('SET', slot, entry, 'PX', lives)
  end
  answers[at] = unchanged and '1' or '0'
end
return table.concat(answers)
