-- What is stored of a bucket, by its place in KEYS: parallel tables; the twin of StoredBucket in bucket-state.ts.
-- The value of a key: struct '<Bdddd' = head (16, or 17 when last charged as shadow), used, at, carry, period.
-- A key that holds anything else, or is no string, is `broken`: its bucket counts as used up from now on, and is written
-- anew. It is never unlimited, and it mends itself as it refills.
local STATE = '<Bdddd'
local STATE_BYTES = 33
local MAX_USED = 4503599627370496 -- 2^52
local MAX_SKEW = 1000000 -- µs; see MAX_SKEW_MICROS in bucket-state.ts
local MAX_PERIOD = 35184372088832 -- 2^45
local call, unpack_bytes, pack_bytes, format = redis.call, struct.unpack, struct.pack, string.format
local present, broken = {}, {}
local odd = {} -- broken or from the future: to be mended before it is looked at
local is_any_odd = false
local used, at, carry, period, shadow = {}, {}, {}, {}, {}
local expires = {} -- µs, of those that are to be written
local changed = {} -- places of those that are to be written, in the order of their first change
local is_changed = {}

-- False when the bytes are no state.
local function unpack_state(k, bytes)
  if #bytes ~= STATE_BYTES then
    return false
  end
  local head, u, t, c, p = unpack_bytes(STATE, bytes)
  used[k], at[k], carry[k], period[k], shadow[k] = u, t, c, p, head == 17
  -- Each comparison is false for a NaN.
  return (head == 16 or head == 17)
    and (u >= 1 and u <= MAX_USED and u % 1 == 0)
    and (t >= 0 and t <= MAX_WHOLE and t % 1 == 0)
    and (p >= 1 and p <= MAX_PERIOD and p % 1 == 0)
    and (c >= 0 and c < p and c % 1 == 0)
end

local function set_broken(k)
  broken[k], odd[k], is_any_odd = true, true, true
end

-- Reads KEYS[1..count]. MGET answers nothing for a key that is no string, so those that seem absent are asked for.
local function load_states(count, now)
  local values = call('MGET', unpack(KEYS, 1, count))
  local absent = {}
  for k = 1, count do
    local bytes = values[k]
    if not bytes then
      absent[#absent + 1] = KEYS[k]
    elseif not unpack_state(k, bytes) then
      set_broken(k)
    else
      present[k] = true
      if at[k] > now + MAX_SKEW then
        odd[k], is_any_odd = true, true
      end
    end
  end
  if #absent == 0 or call('EXISTS', unpack(absent)) == 0 then
    return
  end
  for k = 1, count do
    if not values[k] and call('EXISTS', KEYS[k]) == 1 then
      set_broken(k)
    end
  end
end

-- put_state(k, ...): what is stored from now on; used 0 = nothing. Written at the end, once per key.
local function put_state(k, u, t, c, p, s, until_micros)
  used[k], at[k], carry[k], period[k], shadow[k], expires[k] = u, t, c, p, s, until_micros
  present[k] = u > 0
  if not is_changed[k] then
    is_changed[k] = true
    changed[#changed + 1] = k
  end
end

-- A key lives until its bucket is full again or its window is over, by the clock of the server.
local function save_states()
  for i = 1, #changed do
    local k = changed[i]
    if present[k] then
      local bytes = pack_bytes(STATE, shadow[k] and 17 or 16, used[k], at[k], carry[k], period[k])
      call('SET', KEYS[k], bytes, 'PXAT', format('%d', ceil(expires[k] / 1000)))
    else
      call('DEL', KEYS[k])
    end
  end
end
