-- Begins of streams to web ports: the first byte of each direction.

local GROUP = "{C1B8C7F0-3A57-4B59-9A3E-0E2F4D7B6A12}"
local WEB = { ["80"] = true, ["443"] = true, ["8080"] = true }

TrisulPlugin = {
  id = { name = "bench-stream-web", description = "first bytes of streams to web ports" },

  countergroup = {
    control = { guid = GROUP, name = "Bench: web starts", description = "first bytes", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 10, 0, "Streams", "streams by first byte", "streams" } },
  },

  reassembly_handler = {
    filter = function(engine, timestamp, flow)
      return WEB[flow:portz_readable()] == true
    end,
    onpayload = function(engine, timestamp, flow, direction, seekpos, buffer)
      if seekpos == 0 then engine:update_counter(GROUP, tostring(buffer:hval_8(0)), 0, 1) end
    end,
  },
}
