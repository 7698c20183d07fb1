-- Exact whole-number arithmetic on doubles; the twin of exact.ts.
local huge = math.huge
-- floor(x) is written x - x % 1: an instruction, not a call
local FAST = 4503599627370496 -- 2^52: products below it are exact, and so are their quotients
local MAX_WHOLE = 9007199254740991 -- 2^53 - 1: results are cut to it

-- multiply_divide(a, b, c, d): floor((a * b + c) / d) and the rest.
-- a, b, c whole, 0 <= x < 2^53; d whole, 0 < d < 2^45. Beyond 2^52: `a` in nine digits of six bits, long division.
local function multiply_divide(a, b, c, d)
  local sum = a * b + c
  if sum < FAST then
    local whole = sum / d
    whole = whole - whole % 1
    return whole, sum - whole * d
  end
  local b_whole = b / d
  b_whole = b_whole - b_whole % 1
  local b_rest = b - b_whole * d
  local whole, rest = 0, 0
  local weight = 281474976710656 -- 64^8
  for _ = 1, 9 do
    local digit = a / weight
    digit = digit - digit % 1
    a = a - digit * weight
    weight = weight / 64
    rest = rest * 64 + b_rest * digit
    local more = rest / d
    more = more - more % 1
    rest = rest - more * d
    whole = whole * 64 + b_whole * digit + more
  end
  local c_whole = c / d
  c_whole = c_whole - c_whole % 1
  rest = rest + (c - c_whole * d)
  whole = whole + c_whole
  if rest >= d then
    rest = rest - d
    whole = whole + 1
  end
  if whole > MAX_WHOLE then
    whole = MAX_WHOLE
  end
  return whole, rest
end
