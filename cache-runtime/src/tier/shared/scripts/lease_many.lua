-- What `lease.lua` does, for several slots: returns a `1` for each that has its lease now, and a `0` for each
-- that has changed.
-- If this is late, its caller has given up and fills nothing: callers wait for the leases, at most until
-- they end.
-- KEYS slots   ARGV[1] milliseconds   then for each slot: the first bytes seen ('' for none), the lease
local answers = {}
for at, slot in ipairs(KEYS) do
  local seen, lease = ARGV[2 * at], ARGV[2 * at + 1]
  local taken
  if seen == '' then
    taken = redis.call('SET', slot, lease, 'PX', ARGV[1], 'NX')
  else
    local is = redis.pcall('GETRANGE', slot, 0, 9)
    if type(is) == 'string' and string.sub(is, 1, #seen) == seen and string.sub(is, 1, 2) ~= 'F\1' then
      taken = redis.call('SET', slot, lease, 'PX', ARGV[1])
    end
  end
  answers[at] = taken and '1' or '0'
end
return table.concat(answers)
