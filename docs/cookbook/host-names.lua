-- Question: What are the machines called whose addresses are counted?
-- Shows:    enriching keys in the background: each new host is looked up once by a worker, the label comes when it comes
-- Run:      millstream run -r pcaps/demo.pcap -p docs/cookbook/host-names.lua --builtin Hosts --args docs/cookbook/data/hosts

local HOSTS = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"
local LIST = T.args

local function readable(key) return T.util.ntop(tonumber((key:gsub("%.", "")), 16)) end

-- Runs on a worker and may take its time. Without a list the resolver of the system is asked.
local function name_of(address)
  if LIST ~= "" then
    for line in io.lines(LIST) do
      local found, name = line:match("^(%S+)%s+(%S+)")
      if found == address then return name end
    end
    return nil
  end
  local pipe = io.popen("getent hosts " .. address)
  local name = pipe:read("*l")
  pipe:close()
  return name and name:match("%s(%S+)")
end

TrisulPlugin = {
  id = { name = "host-names", description = "names of hosts as labels of their keys" },

  request_async_workers = 4,

  cg_monitor = {
    counter_guid = HOSTS,
    onnewkey = function(engine, timestamp, key)
      T.async:schedule {
        data = readable(key),
        onexecute = name_of,
        -- Not called where there is no name. The key is a value of this function: onresult stays in this VM.
        onresult = function(engine, address, name) engine:update_key_info(HOSTS, key, name) end,
      }
    end,
  },
}
