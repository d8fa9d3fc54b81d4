-- TCP resets: which hosts are turned away, which hosts turn others away, and an alert when it is many in a short time.
--
-- A few resets are normal. Dozens within seconds, received by one host, mean that it tries doors that are closed: a
-- scan, or a service that is down while its clients keep knocking. The alert names the host, the count and an example
-- flow; it comes once per host and window.

local GROUP = "{FCF379D6-8966-4F4C-AD40-53A78B73C2AE}"
local ALERTS = "{6225B5D4-0FBB-4C80-B900-15C7280A7714}"
local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"
local IPV6 = "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}"
local TCP = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}"
local RECEIVED, SENT = 0, 1

-- Bit 109 of the TCP header, counted from its first, is RST.
local RST_BIT = 109
-- Resets received by one host within one window that are worth an alert.
local MANY = 40
local WINDOW_SECS = 10
-- Hosts watched at a time; a flood of made-up addresses must not fill the memory.
local MAX_HOSTS = 10000

local seen, seen_count, window = {}, 0, 0

-- Source and destination of the packet, as keys and as text for people.
local function ends(packet)
  local ip = packet:find_layer(IPV4)
  if ip then
    local bytes = ip:rawbytes()
    local function key(offset)
      return string.format("%02X.%02X.%02X.%02X", bytes:hval_8(offset), bytes:hval_8(offset + 1),
        bytes:hval_8(offset + 2), bytes:hval_8(offset + 3))
    end
    return key(12), key(16), T.util.ntop(bytes:hval_32(16))
  end
  ip = packet:find_layer(IPV6)
  if not ip then return nil end
  local bytes = ip:rawbytes()
  local destination = T.util.bin2hex(bytes:tostring(24, 16)):upper()
  return T.util.bin2hex(bytes:tostring(8, 16)):upper(), destination, destination
end

-- Counts one reset against the host; true when it has just become too many.
local function too_many(host, seconds)
  local now = math.floor(seconds / WINDOW_SECS)
  if now ~= window or seen_count > MAX_HOSTS then
    seen, seen_count, window = {}, 0, now
  end
  local count = (seen[host] or 0) + 1
  if count == 1 then seen_count = seen_count + 1 end
  seen[host] = count
  return count == MANY
end

TrisulPlugin = {
  id = {
    name = "tcp-resets",
    description = "TCP resets per host, and an alert when one host receives many",
    author = "millstream",
  },

  countergroup = {
    control = {
      guid = GROUP,
      name = "TCP resets",
      description = "packets with the RST flag, by host",
      bucketsize = 10,
    },
    meters = {
      { RECEIVED, T.K.vartype.COUNTER, 20, 0, "Received", "resets received: attempts that were refused", "resets" },
      { SENT, T.K.vartype.COUNTER, 20, 0, "Sent", "resets sent: attempts refused", "resets" },
    },
  },

  alertgroup = {
    control = {
      guid = ALERTS,
      name = "TCP reset alerts",
      description = "one host received many resets in a short time",
    },
  },

  simplecounter = {
    protocol_guid = TCP,

    onpacket = function(engine, layer)
      -- Almost every packet ends here, so this test is all that most of them cost.
      if not layer:testbit(RST_BIT) then return end

      local packet = layer:packet()
      local source, destination, destination_text = ends(packet)
      if not source then return end
      engine:update_counter(GROUP, destination, RECEIVED, 1)
      engine:update_counter(GROUP, source, SENT, 1)

      local seconds = packet:timestamp()
      if too_many(destination, seconds) then
        local message = string.format("%s received %d TCP resets within %d seconds", destination_text, MANY, WINDOW_SECS)
        engine:add_alert(ALERTS, layer:flowkey(), "many-resets", 2, message)
      end
    end,
  },
}
