-- Rules, as they stand in the program. r: where a rule begins there: kind, capacity, then what its kind has.

-- window_of(r, t): start and end of the window of rule r that holds t; nil when none of its edges do.
local function window_of(r, t)
  local first = r + 3
  if t < program[first] then
    return nil
  end
  for i = first + 1, first + program[r + 2] - 1 do
    if t < program[i] then
      return program[i - 1], program[i]
    end
  end
  return nil
end
