-- How a bucket changes with time and charges; the twin of bucket-state.ts. k: its place in KEYS; r: where a rule begins in the program.
-- Waits and resets are for the caller: a reply gives it what is used, and it counts on with bucket-state.ts.

local LINGER = 1000000 -- µs; see LINGER_MICROS in bucket-state.ts

-- Store time in ms when a bucket in this state, last charged by rule r, may be forgotten: its window is over, or it is full again, and has
-- been for a moment. In whole seconds, so that those of a call have few texts.
local function forgotten_at(r, u, t, c, p)
  if program[r] == 1 then
    local _, window_end = window_of(r, t > now and t or now)
    return window_end / 1000
  end
  local period, rate = program[r + 3], program[r + 2]
  if p ~= period then
    c = multiply_divide(c, period, 0, p)
  end
  local full = MAX_WHOLE
  if rate > 0 then
    full = u * period - c + rate - 1
    if full < FAST then
      full = full / rate
      full = full - full % 1 + t
    else
      full = multiply_divide(u - 1, period, period - c + rate - 1, rate) + t
    end
    if full > MAX_WHOLE then
      full = MAX_WHOLE
    end
  end
  full = full + LINGER
  return (full - full % 1000000) / 1000 + 1000
end

local seen_broken = {}

-- A state that cannot be kept: broken (used up from now on), or from the future (moved to now).
local function mend(k, rule, is_broken, head, u, c, p)
  if is_broken then
    seen_broken[#seen_broken + 1] = k
    head, u, c, p = 16, program[rule + 1], 0, program[rule] == 0 and program[rule + 3] or 1
  end
  values[k] = u > 0 and struct.pack(STATE, head, u, now, c, p)
  rewritten[k] = rule
  return values[k], head, u, now, c, p
end

-- look(k, r): what is used of what is stored, and the carry, as a claim with rule r (negative: a shadow claim) sees it now.
local function look(k, r)
  local bytes = values[k]
  if not bytes then
    return 0, 0
  end
  local rule = r < 0 and -r or r
  local head, u, t, c, p = struct.unpack(STATE, bytes)
  local is_broken = not is_state(head, u, t, c, p)
  if is_broken or t > now + MAX_SKEW then
    bytes, head, u, t, c, p = mend(k, rule, is_broken, head, u, c, p)
    if not bytes then
      return 0, 0
    end
  end
  if head == 17 and r > 0 and u > program[rule + 1] then
    u, c = program[rule + 1], 0
  end
  local elapsed = now - t
  if elapsed < 0 then
    ahead[k], elapsed = -elapsed, 0
  end
  if program[rule] == 1 then
    if t < window_of(rule, t > now and t or now) then
      return 0, 0
    end
    return u, 0
  end
  local period = program[rule + 3]
  if p ~= period then
    c = multiply_divide(c, period, 0, p)
  end
  local whole
  whole, c = multiply_divide(elapsed, program[rule + 2], c, period)
  if whole >= u then
    return 0, 0
  end
  return u - whole, c
end

-- The bucket as it is seen now, as it is to be stored; false: unused.
local function state_of(k, head)
  local u, r = used[k], rules[k]
  if u <= 0 then
    return false
  end
  if u > MAX_USED then
    u = MAX_USED
  end
  local rule = r < 0 and -r or r
  local period = program[rule] == 0 and program[rule + 3] or 1
  return struct.pack(STATE, head or r < 0 and 17 or 16, u, now + (ahead[k] or 0), carry[k], period)
end

-- What was seen is what will be stored.
local function keep(k, head)
  local r = rules[k]
  values[k], rewritten[k] = state_of(k, head), r < 0 and -r or r
  base[k] = used[k]
end

-- From now on the bucket is seen by rule r.
local function see(k, r)
  if used[k] > MAX_USED then
    used[k] = MAX_USED
  end
  if rules[k] == r then
    return
  end
  if used[k] ~= base[k] then
    keep(k)
  end
  local u, c = look(k, r)
  rules[k], used[k], base[k], carry[k] = r, u, u, c
  capacity[k] = r < 0 and huge or program[r + 1]
end

-- Charges (or, below 0, refunds) what is used for sure.
local function change(k, delta)
  local is_enforced = false -- a refund by a shadow claim leaves a bucket that was charged as enforced what it was
  if delta < 0 and rules[k] < 0 and used[k] == base[k] and values[k] then
    is_enforced = struct.unpack('B', values[k]) == 16
  end
  used[k], base[k] = used[k] + delta, -1
  if used[k] <= 0 then
    used[k], carry[k], ahead[k] = 0, 0, nil
  elseif is_enforced then
    keep(k, 16)
  end
end

-- Reads the buckets, and sees each by the rule that the program names from `cursor` on. What most are, a token bucket that was last charged
-- by the same rule, is counted here; the rest is left to look().
local function load_states(count, cursor)
  if count == 0 then
    return
  end
  read_states(count)
  local program, values, now, unpack_state = program, values, now, struct.unpack
  local rules, used, base, carry, capacity = rules, used, base, carry, capacity
  for k = 1, count do
    local r = program[cursor + k - 1]
    local bytes = values[k]
    local rule, limit = r, program[r + 1]
    if r < 0 then
      rule, limit = -r, huge
    end
    local u, c = 0, 0
    if bytes then
      local head, stored, t, rest, p = unpack_state(STATE, bytes)
      local sum = (now - t) * program[rule + 2] + rest
      -- Each comparison is false for a NaN.
      if
        head == 16
        and p == program[rule + 3]
        and program[rule] == 0
        and (t >= 0 and t <= now and t % 1 == 0)
        and (stored >= 1 and stored <= MAX_USED and stored % 1 == 0)
        and (rest >= 0 and rest < p and rest % 1 == 0)
        and sum < FAST
      then
        local whole = sum / p
        u = stored - (whole - whole % 1)
        if u > 0 then
          c = sum % p
        else
          u = 0
        end
      else
        u, c = look(k, r)
      end
    end
    rules[k], used[k], base[k], carry[k], capacity[k] = r, u, u, c, limit
  end
end

-- count, then place and µs of those that are ahead of the clock.
local function seen_ahead()
  local list = { 0 }
  for k, micros in pairs(ahead) do
    list[1] = list[1] + 1
    list[#list + 1], list[#list + 2] = k, micros
  end
  return list
end

-- Writes what changed. Callers who came to a full bucket have equal states: of several in a row one is packed.
local function save_states(count)
  local keys_values, times, gone, size = {}, {}, {}, 0
  local texts = {}
  local last_rule, last_used, last_carry, last_bytes, last_text
  for k = 1, count do
    local u = used[k]
    local is_charged = u ~= base[k]
    if is_charged or rewritten[k] then
      local bytes, text
      if is_charged and u == last_used and rules[k] == last_rule and carry[k] == last_carry and not ahead[k] then
        bytes, text = last_bytes, last_text
      else
        if is_charged then
          keep(k)
        end
        bytes = values[k]
        if bytes then
          local _, stored, t, c, p = struct.unpack(STATE, bytes)
          local time = forgotten_at(rewritten[k], stored, t, c, p)
          text = texts[time]
          if not text then
            text = string.format('%d', time)
            texts[time] = text
          end
          if is_charged and t == now then
            last_rule, last_used, last_carry, last_bytes, last_text = rules[k], u, carry[k], bytes, text
          end
        end
      end
      if bytes then
        keys_values[size + 1], keys_values[size + 2] = KEYS[k], bytes
        size = size + 2
        times[size] = text
      else
        gone[#gone + 1] = KEYS[k]
      end
    end
  end
  if #gone > 0 then
    call('DEL', unpack(gone))
  end
  for from = 1, size, CHUNK do
    local to = from + CHUNK - 1
    call('MSET', unpack(keys_values, from, to < size and to or size))
  end
  for i = 2, size, 2 do
    call('PEXPIREAT', keys_values[i - 1], times[i])
  end
end
