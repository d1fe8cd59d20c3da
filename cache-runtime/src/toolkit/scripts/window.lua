-- Takes `cost` from a rate limit, by a log of what was taken within the window: members of a sorted set,
-- whose scores are microseconds of this server's clock. Returns whether it is allowed, how many are taken,
-- and how many microseconds it takes until all of them have left the window, and until so many have
-- that the cost is allowed.
-- What was taken later than now, by a clock that was put back since, counts as taken now.
-- If this is late, it has counted, and its caller has had an error.
-- KEYS[1] key   ARGV[1] microseconds of the window   ARGV[2] the limit   ARGV[3] cost
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window, limit, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] and tonumber(last[2]) > now then
  local later = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')
  for _, member in ipairs(later) do
    redis.call('ZADD', KEYS[1], string.format('%.0f', now), member)
  end
end
local taken = redis.call('ZCARD', KEYS[1])
local function leaves(nth)
  local member = redis.call('ZRANGE', KEYS[1], nth - 1, nth - 1, 'WITHSCORES')
  return member[2] and math.max(tonumber(member[2]) + window - now, 1) or 0
end
if cost > 0 and taken + cost > limit then
  return {0, taken, leaves(taken), leaves(taken + cost - limit)}
end
if cost == 0 then
  return {1, taken, leaves(taken), 0}
end
-- Members of one moment have different numbers, of one length: so their order is that of the numbers.
local number = last[1] and tonumber(string.match(last[1], '%d+$')) or 0
for nth = 1, cost do
  local member = string.format('%.0f:%015d', now, number + nth)
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), member)
end
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
return {1, taken + cost, window, 0}
