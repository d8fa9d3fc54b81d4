-- Fields of T that do not exist.
local kind = T.K.vartype.COUTNER

TrisulPlugin = {
  id = { name = "fields" },
  onload = function() T.mine = {} end,
  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}",
    onpacket = function(engine, layer)
      T.mine[1] = kind
      T.lognotice("not there") -- T.comments("do not count")
      T.util.ntop(T.yours)
      local text = "T.strings('neither')"
      if T.host.reverse then T.host.reverse(text) end
    end,
  },
}
