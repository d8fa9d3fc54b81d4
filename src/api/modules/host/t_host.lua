-- T.host. IPv4 is decided here so that it compiles with the caller; IPv6 is rarer and asks the native side.
local host, arguments, natives, parse_ipv4 = ...
local band, tobit = bit.band, bit.tobit
local byte, find, floor, rawequal, select = string.byte, string.find, math.floor, rawequal, select
local tonumber, tostring, type = tonumber, tostring, type
local refuse, text = arguments.refuse, arguments.text
local is_home_v6, is_home_v6_key, prepare_config = natives.is_home_v6, natives.is_home_v6_key, natives.prepare_config

local networks, masks, count = {}, {}, #natives.v4
for i = 1, count do
  networks[i], masks[i] = tobit(natives.v4[i].network), tobit(natives.v4[i].mask)
end

local function is_home_v4(address)
  local bits = tobit(address)
  for i = 1, count do
    if band(bits, masks[i]) == networks[i] then return true end
  end
  return false
end

function host.get_homenets()
  local list = {}
  for i = 1, count do
    local net = natives.v4[i]
    -- Both by position and by name: the published description leaves open which one it means.
    list[i] = { net.ip_text, net.netmask_text, ip = net.ip_text, netmask = net.netmask_text }
  end
  return list
end

local function number_is_home(value)
  value = floor(value) % 4294967296
  return value == value and is_home_v4(value)
end

function host.is_homenet(x, ...)
  if rawequal(x, host) then x = ... end
  local kind = type(x)
  if kind == "string" then
    local address = parse_ipv4(x)
    if address then return is_home_v4(address) end
    if find(x, ":", 1, true) then return is_home_v6(x) end
    local number = tonumber(x)
    return number ~= nil and number_is_home(number)
  end
  if kind == "number" then return number_is_home(x) end
  if kind == "nil" then return false end
  local number = kind == "cdata" and tonumber(x)
  if number then return number_is_home(number) end
  refuse(1, "is_homenet", "number or string", x)
end

local function hex_digit(c)
  if not c then return nil end
  if c >= 48 and c <= 57 then return c - 48 end
  if c >= 65 and c <= 70 then return c - 55 end
  if c >= 97 and c <= 102 then return c - 87 end
  return nil
end

-- "C0.A8.01.02" to a number.
local function key_to_v4(key)
  if #key ~= 11 then return nil end
  local value = 0
  for i = 1, 11, 3 do
    local high, low = hex_digit(byte(key, i)), hex_digit(byte(key, i + 1))
    if not high or not low or (i < 10 and byte(key, i + 2) ~= 46) then return nil end
    value = value * 256 + high * 16 + low
  end
  return value
end

function host.is_homenet_key(key, ...)
  if rawequal(key, host) then key = ... end
  key = text(key, 1, "is_homenet_key")
  if not key then return false end
  local address = key_to_v4(key)
  if address then return is_home_v4(address) end
  return #key == 32 and is_home_v6_key(key)
end

function host.get_configpath()
  return natives.config_path
end

function host.get_datapath()
  return natives.data_path
end

function host.prepare_config(guid, template_file, extra)
  if rawequal(guid, host) then guid, template_file = template_file, extra end
  guid, template_file = text(guid, 1, "prepare_config"), text(template_file, 2, "prepare_config")
  if not guid then return end
  return prepare_config(guid, template_file or "")
end

-- The rest needs the engine, which the installer supplies.

--- As `engine:update_key_info`.
function host.createkey(guid, key, label, description, extra)
  if rawequal(guid, host) then guid, key, label, description = key, label, description, extra end
  guid, key = text(guid, 1, "createkey"), text(key, 2, "createkey")
  label, description = text(label, 3, "createkey"), text(description, 4, "createkey")
  return natives.createkey(guid, key, label, description)
end

function host.broadcast(id, class, message, extra)
  if rawequal(id, host) then id, class, message = class, message, extra end
  id, class, message = text(id, 1, "broadcast"), text(class, 2, "broadcast"), text(message, 3, "broadcast")
  return natives.broadcast(id or "", class or "", message)
end

function host.id()
  return natives.id()
end

local function log(count, level, message)
  if count < 2 then level, message = nil, level end
  -- What is no level counts as DEBUG.
  return natives.log(tonumber(level) or 8, tostring(message))
end

--- As `T.log`: a message alone is one of level DEBUG.
function host.log(first, ...)
  local count = select("#", ...)
  if rawequal(first, host) then return log(count, ...) end
  return log(count + 1, first, ...)
end
