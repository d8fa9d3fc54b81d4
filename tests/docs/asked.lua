-- Says what the host asks a plugin for: a line "owner <tab> name" for each field that is read, in the file T.args.
--
-- KINDS (set in front of this text) are the blocks that the plugin has.

local function note(owner, name)
  local file = assert(io.open(T.args, "a"))
  file:write(owner, "\t", tostring(name), "\n")
  file:close()
end

-- A table that tells whenever a field of it is read.
local function told(owner, fields)
  return setmetatable({}, {
    __index = function(_, name)
      note(owner, name)
      return fields[name]
    end,
  })
end

local number = 0

local function control(kind)
  number = number + 1
  return told(kind .. ".control", {
    guid = ("{0B1C2D3E-1111-4000-8000-%012d}"):format(number), name = kind, description = kind,
    host_protocol_guid = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}", host_protocol_ports = { 4711 },
  })
end

local steps = 0

-- What is needed to get past the first question.
local FIELDS = {
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function()
      if number < 0 then return end
      number = -1
      T.async:schedule(told("T.async.schedule", {
        data = "", onexecute = function() return "x" end, onresult = function() end, retries = 1,
      }))
    end,
  },
  cg_monitor = { counter_guid = "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}" },
  alert_monitor = { alert_guid = "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}" },
  resource_monitor = { resource_guid = "{D1E27FF0-6D66-4E57-BB91-99F76BB2143E}" },
  fts_monitor = { fts_guid = "{9FEB8ADE-ADBB-49AD-BC68-C6A02F389C71}" },
  inputfilter = {
    step = function(packet)
      steps = steps + 1
      packet:set_timestamp(100 + steps)
      return steps < 5
    end,
    step_alert = function()
      if steps ~= 2 then return nil end
      steps = 3
      return told("step_alert.result", {
        AlertGroupGUID = "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}", TimestampSecs = 101, SigIDKey = "x",
      })
    end,
  },
}

local fields = { id = told("TrisulPlugin.id", {}) }
for _, kind in ipairs(KINDS) do
  local block = FIELDS[kind] or {}
  block.control = control(kind)
  fields[kind] = told(kind, block)
end
TrisulPlugin = told("TrisulPlugin", fields)
