-- Adds a writer to the fence in this place; if there is no fence, writes one over what is there.
-- Writers whose deadline has passed are removed. The key lives until the last deadline. All
-- deadlines are of this server's clock.
-- If this is late, its writer may have left already: nothing is stored until the writer's deadline.
-- KEYS[1] slot or version   ARGV[1] mark   ARGV[2] writer   ARGV[3] milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = now + ARGV[3]
local writers = string.format('%s:%.0f', ARGV[2], last)
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and string.sub(held, 1, 2) == 'F\1' then
  for writer, deadline in string.gmatch(string.sub(held, 11), '(%x+):(%d+)') do
    if writer ~= ARGV[2] and tonumber(deadline) > now then
      writers = writers .. ' ' .. writer .. ':' .. deadline
      last = math.max(last, tonumber(deadline))
    end
  end
end
redis.call('SET', KEYS[1], ARGV[1] .. writers, 'PX', string.format('%.0f', last - now))
return 1
