-- Rules, by their place in the call: parallel tables, filled by the script from its arguments.
local rule_kind = {} -- 0 bucket, 1 window
local rule_capacity = {}
local rule_units = {} -- bucket: units that flow in per rule_period µs, in lowest terms
local rule_period = {}
local rule_edges = {} -- window: where its edges begin in `edges`, how many
local rule_edge_count = {}
local edges = {} -- all edges of all window rules, µs

-- window_of(r, t): start and end of the window of rule r that holds t; nil when none of its edges do.
local function window_of(r, t)
  local first = rule_edges[r]
  if t < edges[first] then
    return nil
  end
  for i = first + 1, first + rule_edge_count[r] - 1 do
    if t < edges[i] then
      return edges[i - 1], edges[i]
    end
  end
  return nil
end
