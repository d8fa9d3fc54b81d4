-- Names that are asked for: questions of DNS, taken apart in Lua, and servers that TLS clients name.

local GROUP = "{3B0C4D63-7E0B-4C43-8E0A-6E8A1B4E5F27}"
local DNS = "{B2D9A0E1-4F6C-4B0B-8B7D-51C8E0F3A946}"
local UDP = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}"
local QUESTIONS, SERVERS = 0, 1
local HEADER_BYTES = 12

local concat = table.concat
local labels = {}

local function question_name(bytes)
  local count, at, size = 0, HEADER_BYTES, bytes:size()
  while at < size do
    local length = bytes:hval_8(at)
    if length == 0 then return concat(labels, ".", 1, count):lower() end
    if length > 63 or at + 1 + length > size or at > 255 + HEADER_BYTES then return nil end
    count = count + 1
    labels[count] = bytes:tostring(at + 1, length)
    at = at + 1 + length
  end
  return nil
end

TrisulPlugin = {
  id = { name = "bench-names", description = "DNS questions and TLS server names" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: names", description = "names asked for", bucketsize = 60 },
    meters = {
      { QUESTIONS, T.K.vartype.COUNTER, 10, 0, "DNS", "questions", "questions" },
      { SERVERS, T.K.vartype.COUNTER, 10, 0, "TLS", "client hellos", "hellos" },
    },
  },

  protocol_handler = {
    control = {
      guid = DNS, name = "BENCH-DNS", description = "DNS over UDP",
      host_protocol_guid = UDP, host_protocol_ports = { 53 },
    },
    parselayer = function(layer)
      if layer:layer_bytes() < HEADER_BYTES then return nil end
      return layer:layer_bytes()
    end,
  },

  simplecounter = {
    protocol_guid = DNS,
    onpacket = function(engine, layer)
      local bytes = layer:rawbytes()
      if bytes:hval_16(2) >= 0x8000 or bytes:hval_16(4) == 0 then return end
      local name = question_name(bytes)
      if name then engine:update_counter(GROUP, name, QUESTIONS, 1) end
    end,
  },

  reassembly_handler = {
    attribute_names = { "TLS:SNI" },
    onattribute = function(engine, timestamp, flow, name, value)
      -- Those of QUIC, which are found as well, are left out: the native program does not decrypt.
      if name == "TLS:SNI" and flow:protocol() == "06" then engine:update_counter(GROUP, value:lower(), SERVERS, 1) end
    end,
  },
}
