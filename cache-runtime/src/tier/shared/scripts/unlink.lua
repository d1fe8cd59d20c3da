-- Removes what is there, and spares fences: their writers are not done yet.
-- KEYS slots or versions
local removed = 0
for _, key in ipairs(KEYS) do
  if redis.pcall('GETRANGE', key, 0, 1) ~= 'F\1' then
    removed = removed + redis.call('UNLINK', key)
  end
end
return removed
