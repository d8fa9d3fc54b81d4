-- The message handler of every callback: hands the error and where it happened to the host.
--
-- Out of memory is another matter: coroutines pass it on as an error like any other, but nothing can be made, a traceback
-- included, until the host has collected. It is handed back, so that the loop ends and the host gets to it before the
-- next packet.

local fault = ...
local traceback, getinfo, tostring, type, pcall = debug.traceback, debug.getinfo, tostring, type, pcall
local find, match, format = string.find, string.match, string.format

-- The names of the host's own texts, as lua/call.rs describes them; a script may have the last one.
local OWN, NOT_OWN = "^%[?millstream[./]?[%w_]*%]?", "millstream.lua"
local MOST_FRAMES = 50

-- A method called without its object, or with another one, errs in the host's own text, of which an author knows nothing:
-- the line of the script and the name of the method stand for it.
local function in_script(e)
  local what = match(e, OWN .. ":%d+: (.*)")
  if not what or match(e, "^[^:]*") == NOT_OWN then return e end
  local method
  -- 1 is this function, 2 the handler.
  for level = 3, MOST_FRAMES do
    local frame = getinfo(level, "Sln")
    if not frame then return e end
    local line, source = frame.currentline, frame.short_src
    if line > 0 and (source == NOT_OWN or not find(source, OWN .. "$")) then
      if method and (find(what, "^attempt to index local '[%a]+'") or find(what, "has no such method$")) then
        what = format("calling '%s' on bad self (%s); methods are called with a colon", method, what)
      end
      return format("%s:%d: %s", source, line, what)
    end
    if line > 0 then method = frame.name end
  end
  return e
end

-- Where the script was, in front of the text.
local function with_line(text)
  for level = 3, MOST_FRAMES do
    local frame = getinfo(level, "Sl")
    if not frame then return text end
    local line, source = frame.currentline, frame.short_src
    if line > 0 and (source == NOT_OWN or not find(source, OWN .. "$")) then
      return format("%s:%d: %s", source, line, text)
    end
  end
  return text
end

-- callback is the name of the one that erred, where the host cannot know which of several was called.
return function(e, callback)
  if type(e) == "string" then
    if find(e, "not enough memory$") then return e end
    fault(in_script(e), traceback("", 2), callback)
  else
    -- Its __tostring may err as well, or return no text.
    local ok, text = pcall(tostring, e)
    -- An address says nothing, and makes every fault look like a new one.
    local detail = ok and type(text) == "string" and not find(text, "^%a+: 0x%x+$") and ": " .. text or ""
    fault(with_line("(error object is a " .. type(e) .. " value" .. detail .. ")"), traceback("", 2), callback)
  end
end
