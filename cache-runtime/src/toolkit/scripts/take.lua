-- Removes a text, and returns it. `GETDEL` is not known to all servers.
-- If this is late, the text is gone, and its caller has had an error.
-- KEYS[1] key
local text = redis.call('GET', KEYS[1])
if text then
  redis.call('UNLINK', KEYS[1])
end
return text
