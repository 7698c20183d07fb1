-- now_micros(): store time in whole µs since the epoch. The only place where a script learns the time.
local function now_micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
