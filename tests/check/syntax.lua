-- TrisulPlugin, cut off in the middle of a table.
TrisulPlugin = {
  id = { name = "syntax" },
  simplecounter = {
    onpacket = function(engine, layer)
      if layer then return
  },
}
