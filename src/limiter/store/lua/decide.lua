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
--   each operation:  code + 8 * claims (0 reserve, 1 peek, 2 settle, 3 report; how many claims follow), + 4 for a reserve
--                    or peek with several claims on one bucket; then
--                    settle, report: marker (place in KEYS), reserved at (settle: store time of the reservation in µs,
--                    -1 unknown; report: 0)
--   each claim:      bucket (10 * (its place in KEYS - 1)), rule (the place in the program where it begins; negative: a
--                    shadow claim), amount; settle: actual - reserved
--
-- Returns string     little-endian doubles:
--   status           0 done, 1 late (after the deadline), 2 stale (a window's edges do not hold the time): for 1 and 2
--                    nothing was done and nothing follows but the time
--   now              store time in µs
--   each operation:  reserve, peek: 0 admitted, 1 refused, + 2 when the time of a bucket's last change is ahead of the
--                    clock; then for each claim, before anything is taken: units used, carry; and with + 2: µs ahead
--                    settle, report: 1 applied, 0 the id was known
--   broken: count, then places in KEYS of the buckets that held no readable state (they now count as used up)
--
-- Errors: those of Redis (OOM, READONLY, ...), before anything was written.
-- Commands: TIME MGET EXISTS MSET PEXPIREAT SET DEL, as Redis 7.0 and Valkey have them. Refusals and peeks write nothing, except to mend
-- a broken state or one from more than 1 s in the future.

local CHUNK = 2000 -- values unpacked at a time: the C stack of Lua holds 8000
local REMEMBER_MS = 600000

local program

-- include time
-- include exact
-- include rule
-- include state
-- include bucket

local function read_program(bytes)
  local count = #bytes / 8
  if count <= CHUNK then
    program = { struct.unpack('<' .. string.rep('d', count), bytes) }
    return
  end
  program = {}
  for from = 1, count, CHUNK do
    local length = count - from + 1
    if length > CHUNK then
      length = CHUNK
    end
    local values = { struct.unpack('<' .. string.rep('d', length), bytes, 8 * from - 7) }
    for i = 1, length do
      program[from + i - 1] = values[i]
    end
  end
end

local cursor = 5 -- next value of the program

-- Passes the rules. Every window must be known for the present and for a state that is a little ahead of it.
local function holds_edges(count, now)
  for _ = 1, count do
    if program[cursor] == 0 then
      cursor = cursor + 4
    else
      if not (window_of(cursor, now) and window_of(cursor, now + MAX_SKEW)) then
        return false
      end
      cursor = cursor + 3 + program[cursor + 2]
    end
  end
  return true
end

local reply = {}
local size = 2

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

-- Judges a reservation and writes its part of the reply, which begins after `size`. True: refused.
local function judge(first, last, now, is_together)
  local is_refused = false
  local before = is_together and {}
  local place = size + 1
  for i = first, last, 3 do
    local b, r, amount = program[i], program[i + 1], program[i + 2]
    if slots[b + 6] ~= r then
      look(b, r, now)
    end
    local u = slots[b + 7]
    reply[place + 1], reply[place + 2] = u, slots[b + 8]
    place = place + 2
    if before then
      u = u + (before[b] or 0)
      before[b] = (before[b] or 0) + amount
    end
    if r > 0 and u + amount > program[r + 1] then
      is_refused = true
    end
  end
  reply[size + 1] = is_refused and 1 or 0
  return is_refused, place, before
end

-- Makes room for what is ahead of the clock.
local function add_ahead(first, last)
  local from, to = size + 1 + (last - first + 1) / 3 * 2, size + 1 + last - first + 1
  for i = last - 2, first, -3 do
    reply[to], reply[to - 1], reply[to - 2] = ahead[program[i]] or 0, reply[from], reply[from - 1]
    from, to = from - 2, to - 3
  end
  reply[size + 1] = reply[size + 1] + 2
  return size + 1 + last - first + 1
end

-- Takes what was judged to fit.
local function take(first, last, now)
  for i = first, last, 3 do
    local amount = program[i + 2]
    if amount > 0 then
      local b, r = program[i], program[i + 1]
      local u = slots[b + 7] + amount
      if slots[b + 9] == r and u <= MAX_USED then
        slots[b + 2], slots[b + 7] = u, u
      else
        charge(b, r < 0 and -r or r, now, u, r < 0)
        slots[b + 9] = r
      end
    end
  end
end

-- Of several claims on one bucket each stores what all of them make together, by the view that it had.
local function take_together(first, last, now, before, step)
  local place = size + 2
  for i = first, last, 3 do
    local b, r = program[i], program[i + 1]
    if before[b] > 0 then
      slots[b + 6], slots[b + 8] = r, reply[place + 1]
      charge(b, r < 0 and -r or r, now, reply[place] + before[b], r < 0)
    end
    place = place + step
  end
end

local function reserve(first, last, now, is_taking, is_together)
  local is_refused, place, before = judge(first, last, now, is_together)
  local step = 2
  if is_any_ahead then
    place, step = add_ahead(first, last), 3
  end
  if is_taking and not is_refused then
    if before then
      take_together(first, last, now, before, step)
    else
      take(first, last, now)
    end
  end
  size = place
end

-- Applies a settlement or a report, once per marker.
local function adjust(first, last, now, marker, reserved_at)
  size = size + 1
  if not redis.call('SET', KEYS[marker], '1', 'NX', 'PX', REMEMBER_MS) then
    reply[size] = 0
    return
  end
  reply[size] = 1
  for i = first, last, 3 do
    local b, r, delta = program[i], program[i + 1], program[i + 2]
    if delta ~= 0 then
      look(b, r, now)
      local rule = r < 0 and -r or r
      local u = slots[b + 7] + delta
      -- A refund for a window that is over is dropped; a charge goes to the current one.
      if delta > 0 or program[rule] == 0 or reserved_at >= window_of(rule, now + (ahead[b] or 0)) then
        if u > 0 then
          charge(b, rule, now, u, r < 0 and (delta > 0 or slots[b + 1] == 17))
        else
          put_state(b, rule, -1, 0, 0, 0, 1)
          slots[b + 7], slots[b + 8], ahead[b] = 0, 0, nil
        end
      end
    end
  end
end

local function decide()
  read_program(ARGV[1])
  local now = now_micros()
  local buckets, rules, operations = program[2], program[3], program[4]
  reply[1], reply[2] = 0, now
  if now > program[1] then
    reply[1] = 1
    return pack_reply()
  end
  if not holds_edges(rules, now) then
    reply[1] = 2
    return pack_reply()
  end
  load_states(buckets)
  for _ = 1, operations do
    local head = program[cursor]
    local code = head % 8
    local length = (head - code) / 8 * 3
    if code % 4 < 2 then
      reserve(cursor + 1, cursor + length, now, code % 4 == 0, code >= 4)
      cursor = cursor + 1 + length
    else
      adjust(cursor + 3, cursor + 2 + length, now, program[cursor + 1], program[cursor + 2])
      cursor = cursor + 3 + length
    end
  end
  if changes > 0 then
    save_states(now)
  end
  size = size + 1
  reply[size] = #seen_broken
  for i = 1, #seen_broken do
    size = size + 1
    reply[size] = seen_broken[i]
  end
  return pack_reply()
end

return decide()
