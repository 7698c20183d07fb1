-- What is stored of buckets, and how this call sees them: one flat table, filled by a single struct.unpack; the twin of
-- StoredBucket in bucket-state.ts. b: where the ten slots of a bucket begin, 10 * (place in KEYS - 1):
--   b+1 head (16, or 17 when last charged as shadow; -1 nothing stored), b+2 used, b+3 at, b+4 carry, b+5 period
--   b+6 the rule it was last looked at with (negative: by a shadow claim; 0 not yet), b+7 used and b+8 carry in that view
--   b+9 the rule (negative: shadow) that reservations last charged it with; a further one changes `used` alone
--   b+10 the rule of its expiry; 0: not to be written
-- The value of a key: struct '<Bdddd' = head, used, at, carry, period. A key that holds anything else, or is no string, is
-- broken: its bucket counts as used up from now on, and is written anew. It is never unlimited, and it mends itself as it refills.
local STATE = '<Bdddd'
local STATE_BYTES = 33
local BROKEN = '\255\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
local BLANK_VIEW = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
local AT_ONCE = 500 -- buckets unpacked at a time: the C stack of Lua holds 8000 values
local MAX_USED = 4503599627370496 -- 2^52
local MAX_SKEW = 1000000 -- µs; see MAX_SKEW_MICROS in bucket-state.ts
local MAX_PERIOD = 35184372088832 -- 2^45
local call = redis.call
local slots
local ahead = {} -- µs by which a bucket's last change is ahead of the clock, where it is
local is_any_ahead = false
local changed = {} -- buckets that are to be written, in the order of their first change
local changes = 0

-- Reads KEYS[1..count]. MGET answers nothing for a key that is no string, so those that seem absent are asked for.
local function load_states(count)
  local values = call('MGET', unpack(KEYS, 1, count))
  local absent, absent_keys, n = {}, {}, 0
  for k = 1, count do
    local bytes = values[k]
    if not bytes then
      n = n + 1
      absent[n], absent_keys[n], values[k] = k, KEYS[k], BROKEN
    elseif #bytes ~= STATE_BYTES then
      values[k] = BROKEN
    end
  end
  values[count + 1] = '' -- so that the last one has its view as well
  if count <= AT_ONCE then
    slots = { struct.unpack('<' .. string.rep('Bddddddddd', count), table.concat(values, BLANK_VIEW)) }
  else
    slots = {}
    for k = 1, count do
      local b = 10 * (k - 1)
      slots[b + 1], slots[b + 2], slots[b + 3], slots[b + 4], slots[b + 5] = struct.unpack(STATE, values[k])
      slots[b + 6], slots[b + 7], slots[b + 8], slots[b + 9], slots[b + 10] = 0, 0, 0, 0, 0
    end
  end
  local is_any_other = n > 0 and call('EXISTS', unpack(absent_keys)) > 0
  for i = 1, n do
    if not (is_any_other and call('EXISTS', absent_keys[i]) == 1) then
      slots[10 * absent[i] - 9] = -1
    end
  end
end

-- Each comparison is false for a NaN.
local function is_state(head, u, t, c, p)
  return (head == 16 or head == 17)
    and (u >= 1 and u <= MAX_USED and u % 1 == 0)
    and (t >= 0 and t <= MAX_WHOLE and t % 1 == 0)
    and (p >= 1 and p <= MAX_PERIOD and p % 1 == 0)
    and (c >= 0 and c < p and c % 1 == 0)
end

-- What is stored from now on; written at the end, once per key, to expire by rule r.
local function put_state(b, r, head, u, t, c, p)
  slots[b + 1], slots[b + 2], slots[b + 3], slots[b + 4], slots[b + 5], slots[b + 9] = head, u, t, c, p, 0
  if slots[b + 10] == 0 then
    changes = changes + 1
    changed[changes] = b
  end
  slots[b + 10] = r
end
