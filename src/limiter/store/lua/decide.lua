-- Decides what one event-loop tick asked of the buckets of one hash tag: all of it in one call, in the order asked.
--
-- KEYS[1..buckets]   keys of buckets, each once
-- KEYS[buckets+1..]  marker keys, each once: the ids of settlements and reports
-- ARGV[1] string     the program: little-endian doubles (struct '<d'), one after the other:
--   deadline         store time in µs after which nothing may happen any more
--   buckets, rules, operations: how many of each follow
--   each rule:       kind (0 bucket, 1 window), capacity; then
--                    bucket: units, period (units flow in per period µs; lowest terms)
--                    window: count, edge 1..count (ascending, µs)
--   each operation:  code + 4 * claims (0 reserve, 1 peek, 2 settle, 3 report; how many claims follow); then
--                    settle, report: marker (place in KEYS), reserved at (settle: store time of the reservation in µs,
--                    -1 unknown; report: 0)
--   each claim:      bucket (place in KEYS), rule (place; negative: a shadow claim), amount; settle: actual - reserved
--
-- Returns string     little-endian doubles:
--   status           0 done, 1 late (after the deadline), 2 stale (a window's edges do not hold the time): for 1 and 2
--                    nothing was done and nothing follows but the time
--   now              store time in µs
--   each operation:  reserve, peek: refused by (place of the claim; 0 admitted), then for each claim: remaining,
--                    reset in µs, wait in µs (0 fits, inf never)
--                    settle, report: 1 applied, 0 the id was known
--   broken: count, then places in KEYS of the buckets that held no readable state (they now count as used up)
--
-- Errors: those of Redis (OOM, READONLY, ...), before anything was written.
-- Commands: TIME MGET EXISTS SET DEL, as Redis 7.0 and Valkey have them. Refusals and peeks write nothing, except to mend
-- a broken state or one from more than 1 s in the future.

-- include time
-- include exact
-- include rule
-- include state
-- include bucket

local REMEMBER_MS = 600000
local CHUNK = 2000 -- values unpacked at a time: the C stack of Lua holds 8000

local program
local function read_program(bytes)
  local count = #bytes / 8
  if count <= CHUNK then
    program = { struct.unpack('<' .. string.rep('d', count), bytes) }
    return
  end
  program = {}
  local position = 1
  for from = 1, count, CHUNK do
    local length = count - from + 1
    if length > CHUNK then
      length = CHUNK
    end
    local values = { struct.unpack('<' .. string.rep('d', length), bytes, position) }
    position = values[length + 1]
    for i = 1, length do
      program[from + i - 1] = values[i]
    end
  end
end

local cursor = 5 -- next value of the program

local function read_rules(count)
  for r = 1, count do
    rule_kind[r] = program[cursor]
    rule_capacity[r] = program[cursor + 1]
    if rule_kind[r] == 0 then
      rule_units[r], rule_period[r] = program[cursor + 2], program[cursor + 3]
      cursor = cursor + 4
    else
      local length = program[cursor + 2]
      rule_edges[r], rule_edge_count[r] = #edges + 1, length
      for i = 1, length do
        edges[#edges + 1] = program[cursor + 2 + i]
      end
      cursor = cursor + 3 + length
    end
  end
end

-- Every window must be known for the present and for a state that is a little ahead of it.
local function holds_edges(count, now)
  for r = 1, count do
    if rule_kind[r] == 1 and not (window_of(r, now) and window_of(r, now + MAX_SKEW)) then
      return false
    end
  end
  return true
end

local reply = {}
local size = 0

local seen_broken = {}
local function mend_claim(k, r, now)
  if mend(k, r, now) then
    seen_broken[#seen_broken + 1] = k
  end
end

-- Claims of one reservation, by their order, and what they ask of each bucket together, by place in KEYS.
local v_key, v_rule, v_shadow, v_used, v_carry, v_skew, v_end, v_wait = {}, {}, {}, {}, {}, {}, {}, {}
local pending = {}

local function reserve(first, claims, now, taking)
  local refused_by, longest = 0, 0
  for i = 1, claims do
    local k, r, amount = program[first], program[first + 1], program[first + 2]
    first = first + 3
    local is_shadow = r < 0
    if is_shadow then
      r = -r
    end
    if is_any_odd and odd[k] then
      mend_claim(k, r, now)
    end
    local u, c, skew, window_end, _
    if at[k] == now and period[k] == rule_period[r] and present[k] and not shadow[k] then
      u, c, skew = used[k], carry[k], 0 -- touched before in this call
    else
      u, c, skew, _, window_end = view(k, r, is_shadow, now)
    end
    local before = pending[k] or 0
    local wait = 0
    if u + before + amount > rule_capacity[r] then
      wait = wait_for(r, now, c, skew, window_end, u + before, amount)
      if wait > longest and not is_shadow then
        refused_by, longest = i, wait
      end
    end
    pending[k] = before + amount
    v_key[i], v_rule[i], v_shadow[i], v_used[i] = k, r, is_shadow, u
    v_carry[i], v_skew[i], v_end[i], v_wait[i] = c, skew, window_end, wait
  end
  size = size + 1
  reply[size] = refused_by
  for i = 1, claims do
    local k, r, u = v_key[i], v_rule[i], v_used[i]
    if refused_by == 0 then
      u = u + pending[k]
    end
    local remaining = rule_capacity[r] - u
    local reset = reset_after(r, now, v_carry[i], v_skew[i], v_end[i], u)
    reply[size + 1] = remaining > 0 and remaining or 0
    reply[size + 2] = reset
    reply[size + 3] = v_wait[i]
    size = size + 3
    -- Of several claims on one bucket each stores what all of them make together.
    if refused_by == 0 and taking and u > v_used[i] then
      store_used(k, r, now, u, v_carry[i], v_skew[i], reset, v_shadow[i])
    end
  end
  for i = 1, claims do
    pending[v_key[i]] = nil
  end
end

-- Applies a settlement or a report, once per marker.
local function adjust(first, claims, now, marker, reserved_at)
  size = size + 1
  if not redis.call('SET', KEYS[marker], '1', 'NX', 'PX', REMEMBER_MS) then
    reply[size] = 0
    return
  end
  reply[size] = 1
  for _ = 1, claims do
    local k, r, delta = program[first], program[first + 1], program[first + 2]
    first = first + 3
    local is_shadow = r < 0
    if is_shadow then
      r = -r
    end
    if delta ~= 0 then
      if is_any_odd and odd[k] then
        mend_claim(k, r, now)
      end
      local u, c, skew, window_start, window_end = view(k, r, is_shadow, now)
      -- A refund for a window that is over is dropped; a charge goes to the current one.
      if delta > 0 or not window_start or reserved_at >= window_start then
        local reset = reset_after(r, now, c, skew, window_end, u + delta)
        store_used(k, r, now, u + delta, c, skew, reset, is_shadow and (delta > 0 or (present[k] and shadow[k])))
      end
    end
  end
end

local function pack_reply()
  local parts = {}
  for from = 1, size, CHUNK do
    local to = from + CHUNK - 1
    if to > size then
      to = size
    end
    parts[#parts + 1] = struct.pack('<' .. string.rep('d', to - from + 1), unpack(reply, from, to))
  end
  return table.concat(parts)
end

local function decide()
  read_program(ARGV[1])
  local now = now_micros()
  local buckets, rules, operations = program[2], program[3], program[4]
  size = 2
  reply[1], reply[2] = 0, now
  if now > program[1] then
    reply[1] = 1
    return pack_reply()
  end
  read_rules(rules)
  if not holds_edges(rules, now) then
    reply[1] = 2
    return pack_reply()
  end
  load_states(buckets, now)
  for _ = 1, operations do
    local head = program[cursor]
    local code = head % 4
    local claims = (head - code) / 4
    if code < 2 then
      reserve(cursor + 1, claims, now, code == 0)
      cursor = cursor + 1 + claims * 3
    else
      adjust(cursor + 3, claims, now, program[cursor + 1], program[cursor + 2])
      cursor = cursor + 3 + claims * 3
    end
  end
  save_states()
  size = size + 1
  reply[size] = #seen_broken
  for i = 1, #seen_broken do
    size = size + 1
    reply[size] = seen_broken[i]
  end
  return pack_reply()
end

return decide()
