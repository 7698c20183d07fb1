-- How a bucket changes with time and charges; the twin of bucket-state.ts. k: place in KEYS; r: place of a rule.
local MAX_SKEW = 1000000 -- µs; see MAX_SKEW_MICROS

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
  if not window_end and u <= 0 then
    return 0
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

-- Used units and carry after refill from `from` to `to`.
local function refilled(r, u, c, p, from, to)
  local own = rule_period[r]
  if p ~= own then
    c = multiply_divide(c, own, 0, p)
  end
  local whole, rest = multiply_divide(to - from, rule_units[r], c, own)
  if whole >= u then
    return 0, 0
  end
  return u - whole, rest
end

-- view(k, r, is_shadow, now): used, carry, skew, start and end of the window (nil for a bucket).
local function view(k, r, is_shadow, now)
  local u, c, t, p = 0, 0, now, 1
  if present[k] then
    u, c, t, p = used[k], carry[k], at[k], period[k]
    if t > now + MAX_SKEW then
      t = now
    end
    if shadow[k] and not is_shadow and u > rule_capacity[r] then
      u, c = rule_capacity[r], 0
    end
  end
  local to = t > now and t or now
  if rule_kind[r] == 0 then
    if u > 0 then
      u, c = refilled(r, u, c, p, t, to)
    end
    return u, c, to - now
  end
  local first, last = window_of(r, to)
  return t >= first and u or 0, 0, to - now, first, last
end

-- Writes what is stored in a shape that cannot be kept: broken (used up from now on), or from the future (moved to now).
local function mend(k, r, now)
  if broken[k] then
    broken[k] = nil
    local window_end = nil
    if rule_kind[r] == 1 then
      local _
      _, window_end = window_of(r, now)
    end
    local full = rule_capacity[r]
    local p = rule_kind[r] == 0 and rule_period[r] or 1
    put_state(k, full, now, 0, p, false, now + reset_after(r, now, 0, 0, window_end, full))
  elseif present[k] and at[k] > now + MAX_SKEW then
    local _, c, skew, _, window_end = view(k, r, true, now)
    local until_micros = now + reset_after(r, now, c, skew, window_end, used[k])
    put_state(k, used[k], now, carry[k], period[k], shadow[k], until_micros)
  end
end

-- Stores the bucket that `view` gave, with `delta` more units used.
local function charge(k, r, now, u, c, skew, window_end, delta, is_shadow)
  u = u + delta
  if u > MAX_USED then
    u = MAX_USED
  end
  if u <= 0 then
    put_state(k, 0, 0, 0, 1, false, 0)
    return
  end
  local p = rule_kind[r] == 0 and rule_period[r] or 1
  put_state(k, u, now + skew, c, p, is_shadow, now + reset_after(r, now, c, skew, window_end, u))
end
