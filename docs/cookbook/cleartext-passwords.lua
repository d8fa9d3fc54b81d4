-- Question: Which passwords can anybody on the way read?
-- Shows:    reassembly_handler.onpayload line by line, disable_reassembly for flows of no interest, header fields of HTTP
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/cleartext-passwords.lua

local ALERTS = "{93922ADB-F033-4F26-B2DB-E1EEB461943B}"
local BASIC = T.re2([[(?i)\r\nAuthorization:\s*Basic\s+([A-Za-z0-9+/=]+)]])
local CLIENT_TO_SERVER = 1

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  local out, value, bits = {}, 0, 0
  for c in text:gmatch("[%w+/]") do
    value, bits = value * 64 + ALPHABET:find(c, 1, true) - 1, bits + 6
    if bits >= 8 then
      bits = bits - 8
      out[#out + 1] = string.char(math.floor(value / 2 ^ bits))
      value = value % 2 ^ bits
    end
  end
  return table.concat(out)
end

-- The report must not become a list of passwords: the user is named, the password is not.
local function tell(engine, flow, how, user)
  engine:add_alert(ALERTS, flow:id(), "CLEARTEXT", 2,
    ("%s of '%s' sent in the clear to %s"):format(how, user, flow:ipz_readable()))
end

-- Users of FTP flows, until the password comes.
local users = {}

TrisulPlugin = {
  id = { name = "cleartext-passwords", description = "passwords of FTP and HTTP that are not encrypted" },

  alertgroup = {
    control = { guid = ALERTS, name = "Passwords in the clear", description = "passwords that can be read" },
  },

  reassembly_handler = {
    onattribute = function(engine, timestamp, flow, name, value)
      if name ~= "HTTP-Header" then return end
      local found, code = BASIC:partial_match_c1(value)
      if found then tell(engine, flow, "HTTP password", base64(code):match("^[^:]*")) end
    end,

    onpayload = function(engine, timestamp, flow, direction, seekpos, buffer)
      if flow:portz() ~= "p-0015" then return engine:disable_reassembly(flow) end
      if direction ~= CLIENT_TO_SERVER then return end
      local line = buffer:tostring(0, 200)
      local user = line:match("^USER%s+(%S+)")
      if user then users[flow:id()] = user end
      if line:match("^PASS%s+%S") and users[flow:id()] and users[flow:id()] ~= "anonymous" then
        tell(engine, flow, "FTP password", users[flow:id()])
      end
    end,

    onterminateflow = function(engine, timestamp, flow) users[flow:id()] = nil end,
  },
}
