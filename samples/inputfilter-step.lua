-- inputfilter, step: be the source of packets yourself, instead of a file or an interface.
--
-- Run it:       millstream run -p samples/inputfilter-step.lua --args 25
-- What it does: makes 25 UDP packets, one second apart, and feeds them to the pipeline. A real one would read a format
--               that nobody else reads, or records from a socket.

-- T.args is the text given on the command line, "" if there was none.
local wanted = tonumber(T.args) or 10
local made = 0

-- 2026-01-15 09:00:00 UTC; a source decides what time it is.
local START = 1768467600

-- An IPv4 packet with a UDP datagram as a string of bytes. The checksums are left at zero.
local function udp_packet(source, destination, source_port, destination_port, payload)
  local function be16(n) return string.char(math.floor(n / 256) % 256, n % 256) end
  local udp = be16(source_port) .. be16(destination_port) .. be16(8 + #payload) .. be16(0) .. payload
  local ip = "\69\0" .. be16(20 + #udp) .. be16(made) .. be16(0) .. string.char(64, 17) .. be16(0)
  return ip .. string.char(unpack(source)) .. string.char(unpack(destination)) .. udp
end

TrisulPlugin = {
  id = { name = "sample-inputfilter-step", description = "makes packets" },

  inputfilter = {
    -- Called whenever the pipeline can take more; note the order of the parameters. Return true to be called again,
    -- anything else to end the input.
    step = function(packet, engine)
      if made == wanted then return false end
      made = made + 1
      local bytes = udp_packet({ 10, 0, 0, made % 250 + 1 }, { 10, 0, 0, 254 }, 40000 + made, 514, "message " .. made)

      -- seconds, microseconds, link type (101 is raw IP, 1 is Ethernet), bytes
      packet:set_packet(START + made, 0, 101, bytes)
      return true
    end,
  },
}
