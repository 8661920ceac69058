-- What all scripts share: random keys, and one line of JSON after wrk's own text.
--
-- Requests are written out before the clock starts and then sent one after the other: wrk shall
-- be slowed down as little as possible, and alike for every server. There are more of them than
-- one run sends, so hardly a key comes twice, and the processor's caches help nobody.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

-- Numbers below `keys`, each with equal chance, other ones for every seed and thread.
function draw(keys, seed)
  local state = (seed * 7919 + number * 104729 + 12345) % 4294967296
  return function()
    state = (state * 1664525 + 1013904223) % 4294967296
    return math.floor(state * keys / 4294967296)
  end
end

-- Sends `requests` in turn.
function send(requests)
  collectgarbage()
  local count, next = #requests, 0
  request = function()
    next = next % count + 1
    return requests[next]
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,' ..
    '"socket_errors":%d,"not_2xx":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    latency.max, errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
