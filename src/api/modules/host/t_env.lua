-- T.env. The values are copied into the VM, so a lookup costs one table access.
--
-- Names are joined by `>`; newer scripts write the same path as `//App/DBRoot`.
local env, arguments, config, domain = ...
local find, gsub, rawequal = string.find, string.gsub, rawequal
local text = arguments.text

local function value_of(values, path)
  local value = values[path]
  if value then return value end
  if not find(path, ">", 1, true) then
    path = gsub(path, "^%s*/+", "")
    path = gsub(path, "/", ">")
  end
  path = gsub(path, "%s*>%s*", ">")
  path = gsub(path, "^%s+", "")
  path = gsub(path, "%s+$", "")
  return values[path] or ""
end

function env.get_config(path, ...)
  if rawequal(path, env) then path = ... end
  path = text(path, 1, "get_config")
  if not path then return "" end
  return value_of(config, path)
end

function env.get_domain_config(path, ...)
  if rawequal(path, env) then path = ... end
  path = text(path, 1, "get_domain_config")
  if not path then return "" end
  return value_of(domain, path)
end
