-- Takes `cost` from a rate limit, by the generic cell rate algorithm. What is stored is the moment, in
-- microseconds of this server's clock, at which the limit is whole again. Returns whether it is allowed,
-- and how long it takes until the limit is whole: for a cost that is refused, as it was.
-- It is never further away than a limit takes of which all is taken: else a clock that was put back, or a rate that
-- was lowered, would refuse for longer.
-- If this is late, it has counted, and its caller has had an error.
-- KEYS[1] key   ARGV[1] microseconds for each   ARGV[2] the burst   ARGV[3] cost
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = tonumber(redis.call('GET', KEYS[1]) or now)
local whole_at = math.min(math.max(held, now), now + each * burst)
local next_at = whole_at + each * cost
if next_at - now > each * burst then
  return {0, whole_at - now}
end
if cost > 0 then
  local lives = math.ceil((next_at - now) / 1000)
  redis.call('SET', KEYS[1], string.format('%.0f', next_at), 'PX', lives)
end
return {1, next_at - now}
