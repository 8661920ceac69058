-- Batches: wrk … -s batch.lua URL -- PATH KEY_PREFIX KEYS SEED REQUESTS KEYS_OF_EACH

dofile(debug.getinfo(1, "S").source:match("^@?(.*/)") .. "draw.lua")

function init(args)
  local path, prefix = args[1], args[2]
  local keys, seed, count, each =
    tonumber(args[3]), tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
  local key = draw(keys, seed)
  local headers = { ["Content-Type"] = "application/json" }
  local requests = {}
  for i = 1, count do
    local names = {}
    for j = 1, each do
      names[j] = string.format('"%s%012d"', prefix, key())
    end
    local body = '{"keys":[' .. table.concat(names, ",") .. "]}"
    requests[i] = wrk.format("POST", path, headers, body)
  end
  send(requests)
end
