-- Jobs end to end: packets are counted, and jobs are scheduled from the packets' callbacks.
--
-- What to schedule is set from outside: --set 'Bench>Empty=N' for N empty jobs, never more than 50,000 waiting at a time,
-- --set 'Bench>Sleep=N' for N jobs of 10 ms at the first packet. At the last result of empty jobs their rate is written
-- to standard error.

local ffi = require "ffi"
ffi.cdef [[
typedef struct { long sec, nsec; } bench_time;
int clock_gettime(int clock, bench_time *time);
]]

local GROUP = "{5C1E0B0C-98C3-4E2C-B5B0-6E5C0F0A7D21}"
local IN_FLIGHT = 50000

local function setting(name) return tonumber(T.env.get_config("Bench>" .. name) or "") or 0 end
local empty, sleeping = setting("Empty"), setting("Sleep")

local time = ffi.new("bench_time")
local function now()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.sec) + tonumber(time.nsec) * 1e-9
end

local scheduled, done, begun = 0, 0, nil

-- Empty but for the result, without which onresult is not called.
local empty_job = {
  onexecute = function() return "" end,
  onresult = function()
    done = done + 1
    if done == empty then io.stderr:write(string.format("jobs_per_second=%.0f\n", empty / (now() - begun))) end
  end,
}

local sleeping_job = {
  onexecute = function()
    local ffi = require("ffi")
    pcall(ffi.cdef, "typedef struct { long sec, nsec; } bench_pause; int nanosleep(const bench_pause *pause, bench_pause *rest);")
    ffi.C.nanosleep(ffi.new("bench_pause", 0, 10000000), nil)
    return ""
  end,
  onresult = function() end,
}

TrisulPlugin = {
  id = { name = "bench-jobs", description = "packets and bytes, and jobs on the side" },

  request_async_workers = sleeping > 0 and 8 or 1,

  countergroup = {
    control = { guid = GROUP, name = "Bench: jobs", description = "packets and bytes", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Packets", "packets", "packets" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Bytes", "bytes on the wire", "bytes" },
    },
  },

  simplecounter = {
    protocol_guid = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}",
    onpacket = function(engine, layer)
      engine:update_counter(GROUP, "all", 0, 1)
      engine:update_counter(GROUP, "all", 1, layer:total_bytes())
      if scheduled < empty and scheduled - done < IN_FLIGHT then
        begun = begun or now()
        T.async:schedule(empty_job)
        scheduled = scheduled + 1
      end
      if sleeping > 0 then
        for _ = 1, sleeping do T.async:schedule(sleeping_job) end
        sleeping = 0
      end
    end,
  },
}
