-- Removes a text if it is a given one. Returns whether it did.
-- If this is late, the text may be gone, and its caller has had an error.
-- KEYS[1] key   ARGV[1] the given text
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('UNLINK', KEYS[1])
return 1
