-- TLS clients: which programs speak TLS, by the fingerprint of their first message, and where they go.
--
-- A program offers ciphers and extensions in an order of its own. The fingerprint of that order (JA3, JA4) tells a
-- browser from a script and both from most malware, whatever the name of the server. Each new fingerprint is recorded
-- once with an example flow; flows are tagged with theirs.

local GROUP = "{B1C0D4C5-5B83-4B5B-8B25-61A0F14F3F52}"
local RESOURCES = "{8E1B4C2F-63C1-47C9-8E62-1A3A2F8C5D11}"

-- The names under which fingerprints are announced, best first.
local FINGERPRINTS = { ["TLS:JA4"] = "JA4", ["TLS:JA3"] = "JA3", ["SSH:HASSH"] = "HASSH" }
-- Fingerprints remembered; a flood of made-up ones must not fill the memory.
local MAX_KNOWN = 10000

local known, known_count = {}, 0

local function is_new(key)
  if known[key] or known_count >= MAX_KNOWN then return false end
  known[key] = true
  known_count = known_count + 1
  return true
end

TrisulPlugin = {
  id = {
    name = "tls-clients",
    description = "TLS and SSH clients by fingerprint",
    author = "millstream",
  },

  countergroup = {
    control = { guid = GROUP, name = "Client fingerprints", description = "flows by fingerprint", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 20, 0, "Flows", "flows with the fingerprint", "flows" } },
  },

  resourcegroup = {
    control = { guid = RESOURCES, name = "New client fingerprints", description = "the first flow of each" },
  },

  reassembly_handler = {
    onattribute = function(engine, timestamp, flow, name, value)
      local kind = FINGERPRINTS[name]
      if not kind then return end
      local key = kind .. ":" .. value
      engine:update_counter(GROUP, key, 0, 1)
      engine:tag_flow(flow, "[" .. kind:lower() .. "]" .. value:sub(1, 36))
      if is_new(key) then
        engine:add_resource(RESOURCES, flow:id(), key, "to " .. flow:ipz_readable() .. " port " .. flow:portz_readable())
      end
    end,
  },
}
