-- Adds a writer to the fence in this place; if there is no fence, writes one over what is there.
-- Writers whose deadline has passed are removed. Of more writers than a fence names, those with the
-- earliest deadlines become one nameless writer, `0`, with the latest of theirs: so a fence that many
-- writers have abandoned stays short. The key lives until the last deadline. All deadlines are of
-- this server's clock.
-- If this is late, its writer may have left already: nothing is stored until the writer's deadline.
-- Tells the processes that keep copies: what is fenced may change at any time.
-- KEYS[1] slot or version   ARGV[1] mark   ARGV[2] writer   ARGV[3] milliseconds   ARGV[4] how many
-- writers have names   ARGV[5] channel   ARGV[6] notice
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = now + ARGV[3]
local nameless = 0
local writers = {{ARGV[2], last}}
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and string.sub(held, 1, 2) == 'F\1' then
  for writer, text in string.gmatch(string.sub(held, 11), '(%x+):(%d+)') do
    local deadline = tonumber(text)
    if writer ~= ARGV[2] and deadline > now then
      last = math.max(last, deadline)
      if writer == '0' then
        nameless = deadline
      else
        writers[#writers + 1] = {writer, deadline}
      end
    end
  end
end
local named = tonumber(ARGV[4])
if #writers > named then
  table.sort(writers, function(one, other) return one[2] > other[2] end)
  nameless = math.max(nameless, writers[named + 1][2])
end
local texts = {}
for i = 1, math.min(#writers, named) do
  texts[i] = string.format('%s:%.0f', writers[i][1], writers[i][2])
end
if nameless > 0 then
  texts[#texts + 1] = string.format('0:%.0f', nameless)
end
redis.call('SET', KEYS[1], ARGV[1] .. table.concat(texts, ' '), 'PX', string.format('%.0f', last - now))
redis.pcall('PUBLISH', ARGV[5], ARGV[6])
return 1
