-- onload and onunload: prepare before the first packet, put things away after the last.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/onload-onunload.lua
-- What it does: reads a list of names for hosts when it starts, gives the hosts those names, and says at the end how
--               many packets each of them had.

local HOSTS = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"
local IPV4 = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}"

-- A real plugin would read this from a file beside it.
local LIST = {
  ["10.20.0.2"] = "resolver",
  ["10.20.0.5"] = "file server",
  ["10.20.0.9"] = "printer",
}

TrisulPlugin = {
  id = { name = "sample-onload-onunload", description = "names for hosts, a summary at the end" },

  -- Called once in every VM before anything else. Return false to say that this plugin cannot work here; it is then
  -- removed and nothing of it is called.
  onload = function()
    -- T is a table that is always there; fields you add to it stay for the life of this VM.
    T.names, T.packets = {}, {}
    for address, name in pairs(LIST) do
      local number = T.util.pton(address)
      if not number then
        T.logerror("not an address: " .. address)
        return false
      end
      T.names[number] = name
      T.packets[name] = 0
      local key = string.format("%02X.%02X.%02X.%02X", T.util.bitval32(number, 31, 8), T.util.bitval32(number, 23, 8),
        T.util.bitval32(number, 15, 8), T.util.bitval32(number, 7, 8))
      T.host:createkey(HOSTS, key, name)
    end
  end,

  -- Called once when this VM is closed. There is no engine any more.
  onunload = function()
    for name, count in pairs(T.packets) do
      T.loginfo(name .. " sent " .. count .. " packets")
    end
  end,

  simplecounter = {
    protocol_guid = IPV4,

    onpacket = function(engine, layer)
      local name = T.names[layer:rawbytes():hval_32(12)]
      if name then T.packets[name] = T.packets[name] + 1 end
    end,
  },
}
