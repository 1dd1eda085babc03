-- wrk script: POST the bodies of a file in turn, each request with a batch id of its own.
-- Arguments after `--`: file (see bodies.write), path, id prefix, requests per second (0: as fast as it goes).
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long sec; long nsec; } isotherm_time;
int clock_gettime(int clock, isotherm_time *time);
]]

local ID_DIGITS = 10
local moment = ffi.new("isotherm_time")
local heads, tails, prefix, number, count = {}, {}, "", 0, 0

local function now_ms()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.sec) * 1000 + tonumber(moment.nsec) / 1e6
end

local function pace(rate)
  local gap, due = 1000 / rate, nil
  -- Called before each request of each connection: hands out the next slot of one common timetable.
  return function()
    local now = now_ms()
    due = due and math.max(due + gap, now - 100) or now
    return math.max(0, math.floor(due - now + 0.5))
  end
end

function init(args)
  prefix = args[3]
  for line in io.lines(args[1]) do
    local cut = line:find("\t", 1, true)
    local head, tail = line:sub(1, cut - 1), line:sub(cut + 1)
    count = count + 1
    heads[count] = table.concat({
      "POST ", args[2], " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ",
      #head + #prefix + ID_DIGITS + #tail, "\r\n\r\n", head, prefix,
    })
    tails[count] = tail
  end
  local rate = tonumber(args[4])
  if rate > 0 then delay = pace(rate) end
end

function request()
  number = number + 1
  local at = number % count + 1
  return heads[at] .. string.format("%010d", number) .. tails[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, e.status, e.connect + e.read + e.write + e.timeout))
end
