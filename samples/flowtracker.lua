-- flowtracker: a list of the flows with the largest value of whatever you compute.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/flowtracker.lua --events -
-- What it does: ranks flows by how one-sided they are: bytes one way for each byte the other way.

TrisulPlugin = {
  id = { name = "sample-flowtracker", description = "the most one-sided flows" },

  flowtracker = {
    -- name is the identity; a snapshot of count flows is written every bucketsize seconds.
    control = { name = "Sample: one-sided", description = "bytes out for each byte in", bucketsize = 300, count = 20 },

    -- Once for every flow that is written: when it has ended, and every five minutes while it goes on. Nothing, 0 and
    -- negative numbers keep it off the list.
    getmetric = function(engine, flow)
      local out, back = flow:az_bytes(), flow:za_bytes()
      if out + back < 1000 then return nil end
      return math.max(out, back) / (math.min(out, back) + 1)
    end,
  },
}
