-- resource_monitor: see what was found in flows: names asked for, pages fetched, certificates, hashes of files.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/resource_monitor.lua
-- What it does: counts the top-level domains of all DNS names, and stores no resource.

local MY_GROUP = "{8B8B1D2C-5E58-45B1-9B61-6F37E5A7A3A2}"

TrisulPlugin = {
  id = { name = "sample-resource_monitor", description = "names by top-level domain" },

  countergroup = {
    control = { guid = MY_GROUP, name = "Sample: domains", description = "names by top-level domain", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Names", "names asked for", "names" } },
  },

  resource_monitor = {
    -- The group by its GUID, or a function that finds it.
    resource_guid = function() return T.resourcegroups["DNS Resources"] end,

    -- As soon as a resource has come, within a second. uri is the summary, label the whole record.
    onnewresource = function(engine, resource)
      local domain = resource:uri():match("%.(%a+)%s") or resource:uri():match("%.(%a+)$")
      if domain then engine:update_counter(MY_GROUP, domain:lower(), 0, 1) end
    end,

    onbeginflush = function(engine, timestamp) end,

    -- A no of every script keeps a resource from being stored.
    flushfilter = function(engine, resource) return false end,

    -- Not called here, as nothing is stored unless another script says yes.
    onflush = function(engine, resource) print(resource:flow():to_s(), resource:uri()) end,

    onendflush = function(engine, timestamp) end,
  },
}
