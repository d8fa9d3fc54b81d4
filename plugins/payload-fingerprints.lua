-- Payload fingerprints: the SHA-256 of the first payload of every TCP flow, made in the background.
--
-- Flows that open with the same bytes come from the same software asking for the same thing: a poller, an update check,
-- a worm. The counter group shows which first payloads are common, the resources tie each fingerprint to its flow.
--
-- A hash takes as long as counting a hundred packets. T.async hands it to workers; packets go on meanwhile, and the result
-- comes back to this script.

local GROUP = "{011A470A-4629-428F-B4F3-D1C7F717516F}"
local FINGERPRINTS = "{ED36862E-BB67-437D-B73C-972C7096564E}"
local TCP = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}"
local FLOWS, LEFT_OUT = 0, 1

-- Flows remembered at a time; when full, memory starts afresh and long flows may be hashed once more.
local MAX_FLOWS = 50000
-- When workers fall this far behind, further flows are left out and counted, instead of queueing without end.
local MAX_PENDING = 500

local seen, seen_count = {}, 0

local function is_new(flow)
  if seen[flow] then return false end
  if seen_count >= MAX_FLOWS then seen, seen_count = {}, 0 end
  seen[flow] = true
  seen_count = seen_count + 1
  return true
end

-- The bytes behind the TCP header, or nil if there are none. Layers cover headers only, so their lengths add up to the
-- place where the payload starts; its length follows from the IP header, because short Ethernet frames are padded.
local function payload_of(packet)
  local at, ip_at, ip = 0, 0, nil
  for i = 0, packet:num_layers() - 1 do
    local layer = packet:get_layer(i)
    local protocol = layer:protocol_id()
    if protocol == TCP then
      if not ip then return nil end
      at = at + layer:layer_bytes()
      local first = ip:hval_8(0)
      local total = first >= 0x60 and 40 + ip:hval_16(4) or ip:hval_16(2)
      local length = ip_at + total - at
      -- A card that splits segments itself leaves the total at zero: then everything captured belongs to the packet.
      if total == 0 then length = packet:capture_length() - at end
      if length <= 0 then return nil end
      return packet:rawbytes():tostring(at, length)
    end
    ip, ip_at = layer:rawbytes(), at
    at = at + layer:layer_bytes()
  end
  return nil
end

-- Runs on a worker thread, in a VM of its own: everything it needs is in its argument.
local function hash(data) return T.util.sha256(data:match("^[^\n]*\n(.*)$")) end

-- Runs back in this VM, between packets.
local function hashed(engine, data, result)
  local flow, payload = data:match("^([^\n]*)\n(.*)$")
  local short = result:sub(1, 16)
  -- The start of the payload, where it can be read, tells people what the number stands for.
  local start = payload:sub(1, 40):gsub("[^%g ]", ".")
  engine:update_counter(GROUP, short, FLOWS, 1)
  engine:update_key_info(GROUP, short, start)
  engine:add_resource(FINGERPRINTS, flow, result, #payload .. " bytes: " .. start)
end

TrisulPlugin = {
  id = {
    name = "payload-fingerprints",
    description = "SHA-256 of the first payload of every TCP flow, hashed by background workers",
    author = "millstream",
  },

  request_async_workers = 2,

  countergroup = {
    control = {
      guid = GROUP,
      name = "Payload fingerprints",
      description = "first payloads of TCP flows by the start of their SHA-256",
      bucketsize = 10,
    },
    meters = {
      { FLOWS, T.K.vartype.COUNTER, 20, 0, "Flows", "flows that began with these bytes", "flows" },
      { LEFT_OUT, T.K.vartype.COUNTER, 0, 0, "Not hashed", "flows left out: too many were waiting", "flows" },
    },
  },

  resourcegroup = {
    control = { guid = FINGERPRINTS, name = "Payload fingerprints", description = "SHA-256 of the first payload" },
  },

  simplecounter = {
    protocol_guid = TCP,

    onpacket = function(engine, layer)
      local flow = layer:flowkey()
      if seen[flow] then return end
      local payload = payload_of(layer:packet())
      if not payload or not is_new(flow) then return end
      if T.async:pending_items() > MAX_PENDING then
        engine:update_counter(GROUP, "left out", LEFT_OUT, 1)
        return
      end
      T.async:schedule {
        data = flow .. "\n" .. payload,
        onexecute = hash,
        onresult = hashed,
      }
    end,
  },
}
