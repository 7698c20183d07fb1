-- How a bucket changes with time and charges; the twin of bucket-state.ts. b: where its slots begin; r: where a rule begins.
-- Waits and resets are for the caller: a reply gives it what is used, and it counts on with bucket-state.ts.

-- µs from now until the stored bucket is full again, or until its window ends.
local function full_after(b, r, now)
  local t = slots[b + 3]
  if program[r] == 1 then
    local _, window_end = window_of(r, t > now and t or now)
    return window_end - now
  end
  local u, c, p, rate = slots[b + 2], slots[b + 4], program[r + 3], program[r + 2]
  if slots[b + 5] ~= p then
    c = multiply_divide(c, p, 0, slots[b + 5])
  end
  if rate == 0 then
    return MAX_WHOLE
  end
  local micros = u * p - c + rate - 1
  if micros < FAST then
    micros = micros / rate
    return micros - micros % 1 + t - now
  end
  micros = multiply_divide(u - 1, p, p - c + rate - 1, rate) + t - now
  return micros < MAX_WHOLE and micros or MAX_WHOLE
end

local seen_broken = {}

-- A state that cannot be kept: broken (used up from now on), or from the future (moved to now).
local function mend(b, r, now, is_broken)
  if not is_broken then
    put_state(b, r, slots[b + 1], slots[b + 2], now, slots[b + 4], slots[b + 5])
    return
  end
  seen_broken[#seen_broken + 1] = b / 10 + 1
  local full = program[r + 1]
  put_state(b, r, full > 0 and 16 or -1, full, now, 0, program[r] == 0 and program[r + 3] or 1)
end

-- look(b, r, now): the bucket at `now` as a claim with rule r (negative: a shadow claim) sees it, into its slots.
local function look(b, r, now)
  local rule = r < 0 and -r or r
  local head, u, t, c, p = slots[b + 1], slots[b + 2], slots[b + 3], slots[b + 4], slots[b + 5]
  if head >= 0 and slots[b + 6] == 0 then
    local is_broken = not is_state(head, u, t, c, p)
    if is_broken or t > now + MAX_SKEW then
      mend(b, rule, now, is_broken)
      head, u, t, c, p = slots[b + 1], slots[b + 2], slots[b + 3], slots[b + 4], slots[b + 5]
    end
  end
  slots[b + 6] = r
  if head < 0 then
    slots[b + 7], slots[b + 8], ahead[b] = 0, 0, nil
    return
  end
  if head == 17 and r > 0 and u > program[rule + 1] then
    u, c = program[rule + 1], 0
  end
  local elapsed = now - t
  if elapsed < 0 then
    ahead[b], is_any_ahead, elapsed = -elapsed, true, 0
  end
  if program[rule] == 1 then
    c = 0
    if t < window_of(rule, t > now and t or now) then
      u = 0
    end
  else
    local period = program[rule + 3]
    if p ~= period then
      c = multiply_divide(c, period, 0, p)
    end
    if p ~= period or elapsed > 0 then
      local whole
      whole, c = multiply_divide(elapsed, program[rule + 2], c, period)
      u = u - whole
      if u <= 0 then
        u, c = 0, 0
      end
    end
  end
  slots[b + 7], slots[b + 8] = u, c
end

-- Stores the bucket as it was looked at with rule r, with u units used.
local function charge(b, r, now, u, is_shadow)
  if u > MAX_USED then
    u = MAX_USED
  end
  local t = is_any_ahead and ahead[b] and now + ahead[b] or now
  put_state(b, r, is_shadow and 17 or 16, u, t, slots[b + 8], program[r] == 0 and program[r + 3] or 1)
  slots[b + 7] = u
end

-- A key lives until its bucket is full again or its window is over, by the clock of the server.
local function save_states(now)
  local values, times, gone, size = {}, {}, {}, 0
  for i = 1, changes do
    local b = changed[i]
    local key = KEYS[b / 10 + 1]
    if slots[b + 1] < 0 then
      gone[#gone + 1] = key
    else
      local bytes = struct.pack(STATE, slots[b + 1], slots[b + 2], slots[b + 3], slots[b + 4], slots[b + 5])
      values[size + 1], values[size + 2] = key, bytes
      size = size + 2
      times[size] = ceil((now + full_after(b, slots[b + 10], now)) / 1000)
    end
  end
  if #gone > 0 then
    call('DEL', unpack(gone))
  end
  for from = 1, size, CHUNK do
    local to = from + CHUNK - 1
    call('MSET', unpack(values, from, to < size and to or size))
  end
  local last, text
  for i = 2, size, 2 do
    local time = times[i]
    if time ~= last then
      last, text = time, string.format('%d', time)
    end
    call('PEXPIREAT', values[i - 1], text)
  end
end
