-- Single gets: wrk … -s get.lua URL -- PATH_BEFORE PATH_AFTER KEYS SEED REQUESTS

dofile(debug.getinfo(1, "S").source:match("^@?(.*/)") .. "draw.lua")

function init(args)
  local before, after = args[1], args[2]
  local keys, seed, count = tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
  local whole = wrk.format("GET", before .. "@@" .. after)
  local at = whole:find("@@", 1, true)
  local head, tail = whole:sub(1, at - 1), whole:sub(at + 2)
  local key = draw(keys, seed)
  local requests = {}
  for i = 1, count do
    requests[i] = head .. string.format("%012d", key()) .. tail
  end
  send(requests)
end
