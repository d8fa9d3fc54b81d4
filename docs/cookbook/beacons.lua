-- Question: Does a machine call somebody at regular intervals?
-- Shows:    reassembly_handler.onnewflow; a running mean and deviation without keeping every time
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/beacons.lua

local ALERTS = "{604F25A9-4EBE-4A27-AAE2-FB15CBB4BC3E}"
-- So many intervals, at least so long, that deviate from their mean by no more than a twentieth.
local MIN_INTERVALS, MIN_SECONDS, MOST_DEVIATION, MAX_PAIRS = 8, 5, 0.05, 50000

local pairs_seen, count = {}, 0

-- Welford's method: mean and sum of squares in one pass.
local function add(pair, interval)
  pair.n = pair.n + 1
  local delta = interval - pair.mean
  pair.mean = pair.mean + delta / pair.n
  pair.squares = pair.squares + delta * (interval - pair.mean)
end

TrisulPlugin = {
  id = { name = "beacons", description = "connections that come back like clockwork" },

  alertgroup = {
    control = { guid = ALERTS, name = "Beacons", description = "regular connections of a machine" },
  },

  reassembly_handler = {
    onnewflow = function(engine, timestamp, flow)
      local key = ("%s to %s port %s"):format(flow:ipa_readable(), flow:ipz_readable(), flow:portz_readable())
      local pair = pairs_seen[key]
      if not pair then
        if count >= MAX_PAIRS then return end
        pairs_seen[key], count = { last = timestamp, n = 0, mean = 0, squares = 0 }, count + 1
        return
      end
      add(pair, timestamp - pair.last)
      pair.last = timestamp
      if pair.told or pair.n < MIN_INTERVALS or pair.mean < MIN_SECONDS then return end
      local deviation = math.sqrt(pair.squares / pair.n)
      if deviation / pair.mean <= MOST_DEVIATION then
        pair.told = true
        engine:add_alert(ALERTS, flow:id(), "BEACON", 2, ("%s every %.0f seconds"):format(key, pair.mean))
      end
    end,
  },
}
