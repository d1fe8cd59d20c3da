-- Removes a writer from a fence, and also writers whose deadline has passed. A writer that is not named
-- in the fence any more stays, nameless, until its deadline. Without writers, the fence is removed. If the server has no memory left for the new list, the fence stays as it is
-- until its last deadline. No two writers have one id, so this is harmless however late it is.
-- KEYS[1] slot or version   ARGV[1] mark   ARGV[2] writer
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, 2) ~= 'F\1' then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = now
local writers = {}
for writer, deadline in string.gmatch(string.sub(held, 11), '(%x+):(%d+)') do
  if writer ~= ARGV[2] and tonumber(deadline) > now then
    writers[#writers + 1] = writer .. ':' .. deadline
    last = math.max(last, tonumber(deadline))
  end
end
if #writers == 0 then
  redis.call('UNLINK', KEYS[1])
else
  redis.pcall('SET', KEYS[1], ARGV[1] .. table.concat(writers, ' '), 'PX', string.format('%.0f', last - now))
end
return 1
