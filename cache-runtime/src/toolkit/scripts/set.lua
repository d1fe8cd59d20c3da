-- Stores a text: in any case, only where there is none ('NX'), only in the place of one ('XX'), or only in
-- the place of a given one ('IS'). Returns whether it is stored. With no time left to live, the text that
-- is there goes instead.
-- If this is late, its caller has had an error, and does not know whether the text is stored.
-- KEYS[1] key   ARGV[1] text   ARGV[2] milliseconds, '' for ever   ARGV[3] condition, '' for none
-- ARGV[4] the given text
local condition = ARGV[3]
if condition == 'IS' then
  if redis.call('GET', KEYS[1]) ~= ARGV[4] then
    return 0
  end
elseif condition ~= '' then
  if redis.call('EXISTS', KEYS[1]) == (condition == 'NX' and 1 or 0) then
    return 0
  end
end
if ARGV[2] == '0' then
  redis.call('UNLINK', KEYS[1])
elseif ARGV[2] == '' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
