-- What is stored of buckets, and how this call sees them; the twin of StoredBucket in bucket-state.ts. All tables go by the place of
-- a bucket in KEYS. Stored: struct '<Bdddd' = head (16, or 17 when last charged as shadow), units used, time of the last change, carry, period.
-- A key that holds anything else, or is no string, is broken: its bucket counts as used up from now on, and is written anew. It is
-- never unlimited, and it mends itself as it refills.
local STATE = '<Bdddd'
local STATE_BYTES = 33
local BROKEN = '\255\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
local MAX_USED = 4503599627370496 -- 2^52
local MAX_SKEW = 1000000 -- µs; see MAX_SKEW_MICROS in bucket-state.ts
local MAX_PERIOD = 35184372088832 -- 2^45
local call = redis.call

local values -- bytes, false for an unused bucket: what is stored, or (see `rewritten`) will be
local rewritten = {} -- where `values` is to be written: the rule of its expiry
-- The bucket as it is seen now, at `now`:
local rules = {} -- by this rule (negative: by a shadow claim)
local used, carry, capacity = {}, {}, {}
local base = {} -- `used` when it was seen first by this rule: other than `used`, when it was charged since; -1 when it was adjusted
local ahead = {} -- µs by which its last change is ahead of the clock, where it is

-- Each comparison is false for a NaN.
local function is_state(head, u, t, c, p)
  return (head == 16 or head == 17)
    and (u >= 1 and u <= MAX_USED and u % 1 == 0)
    and (t >= 0 and t <= MAX_WHOLE and t % 1 == 0)
    and (p >= 1 and p <= MAX_PERIOD and p % 1 == 0)
    and (c >= 0 and c < p and c % 1 == 0)
end

-- Reads KEYS[1..count]. MGET answers nothing for a key that is no string, so those that seem absent are asked for.
local function read_states(count)
  values = call('MGET', unpack(KEYS, 1, count))
  local absent, absent_keys, n = {}, {}, 0
  for k = 1, count do
    local bytes = values[k]
    if not bytes then
      n = n + 1
      absent[n], absent_keys[n] = k, KEYS[k]
    elseif #bytes ~= STATE_BYTES then
      values[k] = BROKEN
    end
  end
  if n > 0 and call('EXISTS', unpack(absent_keys)) > 0 then
    for i = 1, n do
      if call('EXISTS', absent_keys[i]) == 1 then
        values[absent[i]] = BROKEN
      end
    end
  end
end
