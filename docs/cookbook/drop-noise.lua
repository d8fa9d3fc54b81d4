-- Question: How are records left out that nobody will ever look at?
-- Shows:    a vote: flushfilter returns false, and the resource is not stored
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/drop-noise.lua

local DNS_RESOURCES = "{D1E27FF0-6D66-4E57-BB91-99F76BB2143E}"
-- Domains that are asked for all day long.
local NOISE = { ["www.example.com"] = true, ["time.example.com"] = true }

local dropped, kept = 0, 0

TrisulPlugin = {
  id = { name = "drop-noise", description = "look-ups of well-known names are not stored" },

  onunload = function() print(("%d look-ups left out, %d stored"):format(dropped, kept)) end,

  resource_monitor = {
    resource_guid = DNS_RESOURCES,

    -- Only false is a no. If another script of this group votes yes, or has no vote, the resource is stored all the same.
    flushfilter = function(engine, resource)
      if NOISE[resource:uri()] then
        dropped = dropped + 1
        return false
      end
    end,

    onflush = function(engine, resource) kept = kept + 1 end,
  },
}
