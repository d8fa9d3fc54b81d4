-- Jobs end to end: packets are counted, and jobs are scheduled from the packets' callbacks.
--
-- What to schedule is set from outside: --set 'Bench>Empty=N' for N empty jobs, never more than 50,000 waiting at a time,
-- --set 'Bench>Managed=N' for as many with time-out, onerror and onfree, --set 'Bench>Sleep=N' for N jobs of 10 ms at the
-- first packet, each of which is followed by another as long as packets are counted. At the last result of empty jobs their rate is written to standard error.
--
-- --set 'Bench>Mixed=N' schedules N jobs of which 10 % fail, 5 % have no time to begin in, 1 % fill the memory of their worker,
-- which costs it its VM, and 1 % are taken back. --set 'Bench>Packets=N' writes to standard error what N packets cost this
-- thread, jobs included, how many a second they were, and how many jobs have ended by then.

local ffi = require "ffi"
ffi.cdef [[
typedef struct { long sec, nsec; } bench_time;
int clock_gettime(int clock, bench_time *time);
]]

local GROUP = "{5C1E0B0C-98C3-4E2C-B5B0-6E5C0F0A7D21}"
local IN_FLIGHT, MIXED_IN_FLIGHT = 50000, 20000
local MONOTONIC, OF_THREAD = 1, 3

local function setting(name) return tonumber(T.env.get_config("Bench>" .. name) or "") or 0 end
local managed, mixed, sleeping, last_packet = setting("Managed"), setting("Mixed"), setting("Sleep"), setting("Packets")
local empty = managed > 0 and managed or setting("Empty")

local time = ffi.new("bench_time")
local function now(clock)
  ffi.C.clock_gettime(clock, time)
  return tonumber(time.sec) + tonumber(time.nsec) * 1e-9
end

local scheduled, done, begun, at_first = 0, 0, nil, sleeping + mixed

-- Empty but for the result, without which onresult is not called.
local empty_job = {
  onexecute = function() return "" end,
  onresult = function()
    done = done + 1
    if done == empty then io.stderr:write(string.format("jobs_per_second=%.0f\n", empty / (now(MONOTONIC) - begun))) end
  end,
}

if managed > 0 then
  empty_job.timeout, empty_job.onerror, empty_job.onfree = 30, function() end, function() end
end

-- Each that has ended begins the next, so that packets take the same way through this script whether there are jobs or not.
local mixed_begun, mixed_freed = 0, 0
local schedule_mixed
local function freed()
  mixed_freed = mixed_freed + 1
  if mixed_begun < mixed then schedule_mixed() end
end
local function ignored() end
local function mixed_job(onexecute, timeout)
  return { data = "data", timeout = timeout, onexecute = onexecute, onresult = ignored, onerror = ignored,
    ontimeout = ignored, oncancel = ignored, onfree = freed }
end
local good = mixed_job(function(data) return data end, 20)
local failing = mixed_job(function(data) error(data) end, 20)
local late = mixed_job(function(data) return data end, 0)
-- What it holds cannot be collected, so the worker's VM is replaced.
local filling = mixed_job(function()
  package.loaded.held = package.loaded.held or {}
  local held = package.loaded.held
  while true do held[#held + 1] = ("x"):rep(10000000) .. #held end
end, 20)

function schedule_mixed()
  local n = mixed_begun % 100
  mixed_begun = mixed_begun + 1
  if n < 10 then T.async:schedule(failing)
  elseif n < 15 then T.async:schedule(late)
  elseif n < 16 then T.async:schedule(filling)
  elseif n < 17 then T.async:cancel(T.async:schedule(good))
  else T.async:schedule(good) end
end

local packets, slept, cpu_begun, packets_begun = 0, 0, nil, nil
local function count_packet()
  if packets == 0 then cpu_begun, packets_begun = now(OF_THREAD), now(MONOTONIC) end
  packets = packets + 1
  if packets == last_packet then
    io.stderr:write(string.format("packet_cpu_ns=%.2f packets_per_second=%.0f mixed_jobs=%d sleeping_jobs=%d\n",
      (now(OF_THREAD) - cpu_begun) * 1e9 / packets, packets / (now(MONOTONIC) - packets_begun), mixed_freed, slept))
  end
end

local sleeping_job
sleeping_job = {
  onexecute = function()
    local ffi = require("ffi")
    pcall(ffi.cdef, "typedef struct { long sec, nsec; } bench_pause; int nanosleep(const bench_pause *pause, bench_pause *rest);")
    ffi.C.nanosleep(ffi.new("bench_pause", 0, 10000000), nil)
    return ""
  end,
  onresult = function()
    slept = slept + 1
    if packets < last_packet then T.async:schedule(sleeping_job) end
  end,
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
        begun = begun or now(MONOTONIC)
        T.async:schedule(empty_job)
        scheduled = scheduled + 1
      end
      if last_packet > 0 then count_packet() end
      if at_first > 0 then
        for _ = 1, sleeping do T.async:schedule(sleeping_job) end
        for _ = 1, math.min(mixed, MIXED_IN_FLIGHT) do schedule_mixed() end
        at_first = 0
      end
    end,
  },
}
