-- Run once in every new VM. Gets the entries for the front of package.path; returns the table of our own modules (name ->
-- source text or loader function), and xpcall before a script can replace it.
local front = ...

jit.opt.start("maxtrace=60000", "maxmcode=65536")

-- Ends the process under every other plugin; here it ends the callback.
os.exit = function(code)
  error("os.exit(" .. (code == nil and "" or tostring(code)) .. ") refused: a plugin cannot end the process", 2)
end

-- Our modules stand at this entry of package.path: behind the script's own directories, before LuaJIT's defaults.
local OWN = "<millstream>/?.lua"
local modules = {}
front[#front + 1] = OWN
front[#front + 1] = package.path
package.path = table.concat(front, ";")

local gmatch, format, loadfile, loadstring = string.gmatch, string.format, loadfile, loadstring
local searchpath, concat, type, error, tostring = package.searchpath, table.concat, type, error, tostring
local package = package

local function own(name)
  local module = modules[name]
  if type(module) == "string" then
    return assert(load(module, "@<millstream>/" .. name .. ".lua", "t"))
  end
  return module
end

-- Replaces LuaJIT's searcher of package.path, which knows files only.
package.loaders[2] = function(name)
  local path = package.path
  if type(path) ~= "string" then error("'package.path' must be a string", 2) end
  local tried, seen = {}, false
  for entry in gmatch(path, "[^;]+") do
    if entry == OWN then
      seen = true
      local loader = own(name)
      if loader then return loader end
      tried[#tried + 1] = format("\n\tno module '%s' of millstream", name)
    else
      local file, why = searchpath(name, entry)
      if file then
        local loader, message = loadfile(file, "t")
        if loader then return loader end
        error(format("error loading module '%s' from file '%s':\n\t%s", name, file, tostring(message)), 0)
      end
      tried[#tried + 1] = why
    end
  end
  -- A script that put its own text into package.path still gets our modules.
  local loader = not seen and own(name)
  return loader or concat(tried)
end

return modules, xpcall
