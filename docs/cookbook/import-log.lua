-- Question: How does a log file become counters, flows and alerts?
-- Shows:    inputfilter instead of a capture: the script sets the time and feeds the engine
-- Run:      millstream run -p docs/cookbook/import-log.lua --args docs/cookbook/data/firewall.log

local GROUP = "{CF0E355A-8258-402E-BC47-B9064CC0C948}"
local ALERTS = "{1117CB5D-DC36-470C-9355-66C2F1385BD6}"
local BYTES, DENIED = 0, 1

local function host_key(address)
  local a, b, c, d = address:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  return ("%02X.%02X.%02X.%02X"):format(a, b, c, d)
end

local PROTOCOLS = { tcp = 6, udp = 17 }

local file

TrisulPlugin = {
  id = { name = "import-log", description = "a firewall log as input" },

  countergroup = {
    control = { guid = GROUP, name = "Firewall", description = "traffic by client, from the log", bucketsize = 60 },
    meters = {
      { BYTES, T.K.vartype.COUNTER, 10, 0, "Bytes", "bytes let through", "bytes" },
      { DENIED, T.K.vartype.COUNTER, 10, 0, "Denied", "connections denied", "connections" },
    },
  },

  alertgroup = { control = { guid = ALERTS, name = "Firewall", description = "connections that were denied" } },

  inputfilter = {
    step = function(packet, engine)
      if not file then
        local problem
        file, problem = io.open(T.args)
        if not file then
          T.logerror(problem)
          return false
        end
      end
      local line = file:read("*l")
      if not line then
        file:close()
        return false
      end
      -- 1768467600 allow tcp 10.20.0.12:51000 192.0.2.80:443 sent=1200 received=56000
      local time, action, protocol, a, a_port, z, z_port, rest =
        line:match("^(%d+) (%a+) (%a+) ([%d.]+):(%d+) ([%d.]+):(%d+)(.*)$")
      if not time then return true end
      packet:set_timestamp(time)
      local number = PROTOCOLS[protocol] or 0
      local flow = ("%02XA:%s:p-%04X_%s:p-%04X"):format(number, host_key(a), a_port, host_key(z), z_port)
      if action == "deny" then
        engine:update_counter(GROUP, host_key(a), DENIED, 1)
        engine:add_alert(ALERTS, flow, "DENIED", 3, a .. " was not let through to " .. z .. " port " .. z_port)
        return true
      end
      local sent, received = rest:match("sent=(%d+) received=(%d+)")
      engine:update_counter(GROUP, host_key(a), BYTES, sent + received)
      engine:update_flow(flow, 0, sent)
      engine:update_flow(flow, 1, received)
      return true
    end,
  },
}
