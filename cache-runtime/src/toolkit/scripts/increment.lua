-- Adds to a number. One that has no end gets one: so no counter is left without its ttl, whatever dies
-- between two commands. What is no number stays, and the server's words about it are returned in a list.
-- If this is late, it has counted, and its caller has had an error.
-- KEYS[1] key   ARGV[1] by how much   ARGV[2] milliseconds, '' for ever
local number = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(number) == 'table' then
  local said = number.err
  if said:find('integer', 1, true) or said:find('overflow', 1, true) or said:find('WRONGTYPE', 1, true) then
    return {said}
  end
  -- The server refuses to write.
  return number
end
-- As a text: a number of Lua has 53 bits. Before it gets its end, which may be now.
local text = redis.call('GET', KEYS[1])
if ARGV[2] ~= '' and redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return text
