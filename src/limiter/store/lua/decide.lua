-- Decides what one event-loop tick asked of the buckets of one hash tag: all of it in one call, in the order asked.
--
-- KEYS[1..buckets]   keys of buckets, each once
-- KEYS[buckets+1..]  marker keys, each once: what was settled and reported
-- ARGV[1] string     the program: little-endian doubles (struct '<d'), one after the other:
--   deadline         store time in µs after which nothing may happen any more
--   buckets, rules, operations: how many of each follow
--   each rule:       kind (0 bucket, 1 window), capacity; then
--                    bucket: units, period (units flow in per period µs; lowest terms)
--                    window: count, edge 1..count (ascending, µs)
--   each bucket:     rule (the place in the program where it begins; negative: a shadow claim) with which it is seen first
--   each operation:  code + 8 * claims (0 reserve, 1 peek, 2 settle, 3 report, 6 probe; how many claims follow), + 4 for a reserve
--                    or peek whose caller cannot count on: see Replies; then
--                    settle, report, probe: marker (place in KEYS), bit (its place in the marker's value; -1: the key is the mark),
--                    reserved at (settle: store time of the reservation in µs, -1 unknown; report, probe: 0)
--   each claim:      bucket (place in KEYS), amount (settle: actual - reserved); of an operation with code >= 2: rule
--
-- Returns string     little-endian doubles:
--   status           0 done, 1 late (after the deadline), 2 stale (a window's edges do not hold the time): for 1 and 2
--                    nothing was done and nothing follows but the time
--   now              store time in µs
--   used             of each bucket as it is seen first, before anything is taken; then each one's carry
--   ahead: count, then place in KEYS and µs of the buckets that are ahead of the clock when seen first
--   each operation:  reserve, peek: 0 admitted, 1 refused; with + 4 for each claim, before anything is taken: units used, carry, and
--                    the µs by which the bucket's last change is ahead of the clock
--                    settle, report: 1 applied, 0 it was marked before; probe: 1
--   broken: count, then places in KEYS of the buckets that held no readable state (they now count as used up)
--
-- Replies. Who asks can count on from what was used first: each admitted reservation adds its amounts. It asks with + 4 where it cannot: a
-- bucket is claimed twice, or with another rule than before it in this call, or was adjusted by a settlement or report before it.
--
-- Probe. Runs every command that a decision may need on a key of its own and leaves nothing: it passes exactly when decisions can.
--
-- Errors: those of Redis (OOM, READONLY, ...), before anything was written.
-- Commands: TIME MGET EXISTS MSET PEXPIREAT SET DEL, as Redis 7.0 and Valkey have them. Refusals and peeks write nothing, except to mend
-- a broken state or one from more than 1 s in the future.

local CHUNK = 2000 -- values unpacked at a time: the C stack of Lua holds 8000
local REMEMBER_MS = 600000

local program, now

-- include time
-- include exact
-- include rule
-- include state
-- include bucket

local function read_doubles(bytes)
  local count = #bytes / 8
  if count <= CHUNK then
    return { struct.unpack('<' .. string.rep('d', count), bytes) }
  end
  local all = {}
  for from = 1, count, CHUNK do
    local length = count - from + 1
    if length > CHUNK then
      length = CHUNK
    end
    local values = { struct.unpack('<' .. string.rep('d', length), bytes, 8 * from - 7) }
    for i = 1, length do
      all[from + i - 1] = values[i]
    end
  end
  return all
end

local function pack_doubles(values, count)
  if count <= CHUNK then
    return struct.pack('<' .. string.rep('d', count), unpack(values, 1, count))
  end
  local parts = {}
  for from = 1, count, CHUNK do
    local to = from + CHUNK - 1
    if to > count then
      to = count
    end
    parts[#parts + 1] = struct.pack('<' .. string.rep('d', to - from + 1), unpack(values, from, to))
  end
  return table.concat(parts)
end

-- A reservation (or peek) of which each claim says its rule; its values are program[first..last]. Tells what it saw after reply[size].
local function reserve_telling(first, last, is_taking, reply, size)
  local is_refused = false
  local before = {}
  local place = size + 1
  for i = first, last, 3 do
    local k, amount, r = program[i], program[i + 1], program[i + 2]
    see(k, r)
    local u = used[k] + (before[k] or 0)
    before[k] = (before[k] or 0) + amount
    if u + amount > capacity[k] then
      is_refused = true
    end
    reply[place + 1], reply[place + 2], reply[place + 3] = used[k], carry[k], ahead[k] or 0
    place = place + 3
  end
  reply[size + 1] = is_refused and 1 or 0
  if is_taking and not is_refused then
    for k, amount in pairs(before) do
      used[k] = used[k] + amount
    end
  end
  return place
end

local marked = {} -- by place in KEYS: the bits of a marker, as they will be written

-- Marks a settlement or a report. false: it was marked before.
local function mark(marker, bit)
  if bit < 0 then
    return call('SET', KEYS[marker], '1', 'NX', 'PX', REMEMBER_MS)
  end
  local bytes = marked[marker] or call('MGET', KEYS[marker])[1] or ''
  local at = (bit - bit % 8) / 8 + 1
  local byte, weight = string.byte(bytes, at) or 0, 2 ^ (bit % 8)
  if byte % (2 * weight) >= weight then
    return false
  end
  bytes = bytes .. string.rep('\0', at - #bytes)
  marked[marker] = string.sub(bytes, 1, at - 1) .. string.char(byte + weight) .. string.sub(bytes, at + 1)
  return true
end

local function save_marks()
  for marker, bytes in pairs(marked) do
    call('SET', KEYS[marker], bytes, 'PX', REMEMBER_MS)
  end
end

-- Applies a settlement or a report, once per mark. 1: applied.
local function adjust(first, last, marker, bit, reserved_at)
  if not mark(marker, bit) then
    return 0
  end
  for i = first, last, 3 do
    local k, delta, r = program[i], program[i + 1], program[i + 2]
    if delta ~= 0 then
      see(k, r)
      local rule = r < 0 and -r or r
      -- A refund for a window that is over is dropped; a charge goes to the current one.
      if delta > 0 or program[rule] == 0 or reserved_at >= window_of(rule, now + (ahead[k] or 0)) then
        change(k, delta)
      end
    end
  end
  return 1
end

-- Expires by itself, in case the server ends in between.
local function probe(key)
  call('MGET', key)
  call('EXISTS', key)
  call('SET', key, '1', 'NX', 'PX', 1000)
  call('MSET', key, '1')
  call('PEXPIREAT', key, string.format('%d', (now - now % 1000) / 1000 + 1000))
  call('DEL', key)
  return 1
end

-- Passes the rules from `cursor` on. Every window must be known for the present and for a state that is a little ahead of it.
local function pass_rules(cursor, count)
  for _ = 1, count do
    if program[cursor] == 0 then
      cursor = cursor + 4
    else
      if not (window_of(cursor, now) and window_of(cursor, now + MAX_SKEW)) then
        return nil
      end
      cursor = cursor + 3 + program[cursor + 2]
    end
  end
  return cursor
end

local function decide()
  program = read_doubles(ARGV[1])
  now = now_micros()
  if now > program[1] then
    return struct.pack('<dd', 1, now)
  end
  local program, used, capacity = program, used, capacity -- faster than what they hide
  local buckets, operations = program[2], program[4]
  local cursor = pass_rules(5, program[3])
  if not cursor then
    return struct.pack('<dd', 2, now)
  end
  load_states(buckets, cursor)
  cursor = cursor + buckets
  local seen_first = pack_doubles(used, buckets) .. pack_doubles(carry, buckets)
  local reply = seen_ahead()
  local size = #reply
  for _ = 1, operations do
    local head = program[cursor]
    local code = head % 8
    if code < 2 then
      local last = cursor + (head - code) / 4
      local refused = 0
      for i = cursor + 1, last, 2 do
        local k = program[i]
        if used[k] + program[i + 1] > capacity[k] then
          refused = 1
        end
      end
      if refused + code == 0 then
        for i = cursor + 1, last, 2 do
          local k = program[i]
          used[k] = used[k] + program[i + 1]
        end
      end
      size = size + 1
      reply[size] = refused
      cursor = last + 1
    else
      local length = (head - code) / 8 * 3
      if code == 6 then
        size = size + 1
        reply[size] = probe(KEYS[program[cursor + 1]])
        cursor = cursor + 4
      elseif code >= 4 then
        size = reserve_telling(cursor + 1, cursor + length, code == 4, reply, size)
        cursor = cursor + 1 + length
      else
        size = size + 1
        reply[size] = adjust(cursor + 4, cursor + 3 + length, program[cursor + 1], program[cursor + 2], program[cursor + 3])
        cursor = cursor + 4 + length
      end
    end
  end
  save_marks()
  save_states(buckets)
  size = size + 1
  reply[size] = #seen_broken
  for i = 1, #seen_broken do
    reply[size + i] = seen_broken[i]
  end
  return struct.pack('<dd', 0, now) .. seen_first .. pack_doubles(reply, size + #seen_broken)
end

return decide()
