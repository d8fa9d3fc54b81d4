-- The message handler of every callback: hands the error and where it happened to the host.
--
-- Out of memory is another matter: coroutines pass it on as an error like any other, but nothing can be made, a traceback
-- included, until the host has collected. It is handed back, so that the loop ends and the host gets to it before the
-- next packet.

local fault = ...
local traceback, tostring, type, pcall, find = debug.traceback, tostring, type, pcall, string.find

return function(e)
  if type(e) == "string" then
    if find(e, "not enough memory$") then return e end
    fault(e, traceback("", 2))
  else
    -- Its __tostring may err as well.
    local ok, text = pcall(tostring, e)
    -- An address says nothing, and makes every fault look like a new one.
    local detail = ok and not find(text, "^%a+: 0x%x+$") and ": " .. text or ""
    fault("(error object is a " .. type(e) .. " value" .. detail .. ")", traceback("", 2))
  end
end
