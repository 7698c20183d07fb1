-- How a bucket changes with time and charges; the twin of bucket-state.ts. k: place in KEYS; r: place of a rule.

-- µs until `units` have flowed in, or until the window ends at `window_end`.
local function time_until(r, now, c, skew, window_end, units)
  if window_end then
    return window_end - now
  end
  local rate = rule_units[r]
  if rate == 0 then
    return huge
  end
  local p = rule_period[r]
  local micros = multiply_divide(units - 1, p, p - c + rate - 1, rate) + skew
  return micros < MAX_WHOLE and micros or MAX_WHOLE
end

-- µs until full again when u units are used, or until the window ends.
local function reset_after(r, now, c, skew, window_end, u)
  if window_end then
    return window_end - now
  end
  if u <= 0 then
    return 0
  end
  -- As time_until, without its calls for the usual numbers: every claim comes here.
  local p, rate = rule_period[r], rule_units[r]
  local sum = u * p - c + rate - 1
  if sum < FAST and rate > 0 then
    local whole = sum / rate
    return whole - whole % 1 + skew
  end
  local micros = time_until(r, now, c, skew, window_end, u)
  return micros < MAX_WHOLE and micros or MAX_WHOLE
end

-- µs until `amount` fits when u units are used: 0 now, huge never.
local function wait_for(r, now, c, skew, window_end, u, amount)
  local missing = u + amount - rule_capacity[r]
  if missing <= 0 then
    return 0
  end
  if amount > rule_capacity[r] then
    return huge
  end
  return time_until(r, now, c, skew, window_end, missing)
end

-- view(k, r, is_shadow, now): used, carry, skew, start and end of the window (nil for a bucket).
local function view(k, r, is_shadow, now)
  if not present[k] then
    if rule_kind[r] == 0 then
      return 0, 0, 0
    end
    return 0, 0, 0, window_of(r, now)
  end
  local u, c, t = used[k], carry[k], at[k]
  if t > now + MAX_SKEW then
    t = now
  end
  if shadow[k] and not is_shadow and u > rule_capacity[r] then
    u, c = rule_capacity[r], 0
  end
  local to = t > now and t or now
  if rule_kind[r] == 1 then
    local first, last = window_of(r, to)
    return t >= first and u or 0, 0, to - now, first, last
  end
  local p = rule_period[r]
  if period[k] ~= p then
    c = multiply_divide(c, p, 0, period[k])
  elseif to == t then
    return u, c, to - now
  end
  local whole, rest = multiply_divide(to - t, rule_units[r], c, p)
  if whole >= u then
    return 0, 0, to - now
  end
  return u - whole, rest, to - now
end

-- Writes what is stored in a shape that cannot be kept: broken (used up from now on), or from the future (moved to now).
-- True when it was broken.
local function mend(k, r, now)
  odd[k] = nil
  if not broken[k] then
    local _, c, skew, _, window_end = view(k, r, true, now)
    local until_micros = now + reset_after(r, now, c, skew, window_end, used[k])
    put_state(k, used[k], now, carry[k], period[k], shadow[k], until_micros)
    return false
  end
  broken[k] = nil
  local p, full, window_end = 1, rule_capacity[r], nil
  if rule_kind[r] == 0 then
    p = rule_period[r]
  else
    local _
    _, window_end = window_of(r, now)
  end
  put_state(k, full, now, 0, p, false, now + reset_after(r, now, 0, 0, window_end, full))
  return true
end

-- Stores the bucket that `view` gave, with u units used and `reset` µs until it is full again.
local function store_used(k, r, now, u, c, skew, reset, is_shadow)
  if u > MAX_USED then
    u = MAX_USED
  end
  if u <= 0 then
    put_state(k, 0, 0, 0, 1, false, 0)
    return
  end
  local p = rule_kind[r] == 0 and rule_period[r] or 1
  put_state(k, u, now + skew, c, p, is_shadow, now + reset)
end
