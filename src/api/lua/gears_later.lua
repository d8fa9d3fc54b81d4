-- T.gears until a script uses it: most do not, and their VMs are made without its texts.
--
-- Called once per VM with the table that is T.gears and with the function that completes it.

local gears, complete = ...
local rawget = rawget

return setmetatable(gears, {
  -- Calls in last place, so that what is called sees the script as its caller.
  __call = function(self, ...)
    complete()
    return self(...)
  end,
  __index = function(self, key)
    complete()
    return rawget(self, key)
  end,
})
