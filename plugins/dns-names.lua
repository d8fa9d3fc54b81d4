-- DNS names: which domains are asked for, how often, and how often they do not exist; read from the raw packets.
--
-- The plugin brings its own small DNS layer (UDP port 53) and takes the question out of it byte by byte. It counts by
-- domain, keeps a resource for every name that is new, and raises an alert when a domain is asked for many different
-- long names: that is how data is carried out through DNS.

local GROUP = "{1D9B136A-4AE5-4C9B-9A6C-7C72599A7AB7}"
local NAMES = "{9001AD8C-FC8D-4CFB-8012-BAD915C90F3D}"
local ALERTS = "{29A11C81-2B35-4726-BA14-4F51B5D1225E}"
local DNS = "{DE25AFC1-A836-4CE4-98C8-DAEF24F2D926}"
local UDP = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}"
local QUERIES, MISSING, BYTES, LONG_NAMES = 0, 1, 2, 3

local HEADER_BYTES = 12
-- A name whose first label is this long was hardly chosen by a person.
local LONG_LABEL = 24
-- So many new long names in one domain are worth an alert, and every so many more.
local MANY_LONG = 20
-- Names and domains remembered at a time; when full, memory starts afresh.
local MAX_REMEMBERED = 20000

local TYPES = {
  [1] = "A", [2] = "NS", [5] = "CNAME", [6] = "SOA", [12] = "PTR", [15] = "MX", [16] = "TXT", [28] = "AAAA",
  [33] = "SRV", [64] = "SVCB", [65] = "HTTPS", [255] = "ANY",
}
local NAME_ERROR = 3

local remembered, remembered_count, long_names = {}, 0, {}

-- The name of the first question and the offset behind it, or nil if the bytes are not a plain name.
-- Questions are never compressed in practice, so a pointer counts as malformed.
local function question_name(bytes)
  local labels, at, size = {}, HEADER_BYTES, bytes:size()
  while at < size do
    local length = bytes:hval_8(at)
    if length == 0 then
      return table.concat(labels, "."):lower(), at + 1
    end
    if length > 63 or at + 1 + length > size or at > 255 + HEADER_BYTES then return nil end
    labels[#labels + 1] = bytes:tostring(at + 1, length)
    at = at + 1 + length
  end
  return nil
end

-- The part of a name that someone registered: the last two labels, or three below short second-level names (co.uk).
local function domain_of(name)
  local head, second, first = name:match("^(.-)([^.]+)%.([^.]+)$")
  if not first then return name end
  local third = head:match("([^.]+)%.$")
  if third and #second <= 3 and #first == 2 then
    return third .. "." .. second .. "." .. first
  end
  return second .. "." .. first
end

-- Bytes that cannot be printed become dots, so that a name can be shown anywhere.
local function printable(name)
  return (name:gsub("[^%g]", "."))
end

local function is_new(name)
  if remembered[name] then return false end
  if remembered_count >= MAX_REMEMBERED then
    remembered, remembered_count, long_names = {}, 0, {}
  end
  remembered[name] = true
  remembered_count = remembered_count + 1
  return true
end

TrisulPlugin = {
  id = {
    name = "dns-names",
    description = "DNS questions by domain, new names, names that look like a tunnel",
    author = "millstream",
  },

  countergroup = {
    control = {
      guid = GROUP,
      name = "DNS domains",
      description = "DNS questions by registered domain",
      bucketsize = 10,
    },
    meters = {
      { QUERIES, T.K.vartype.COUNTER, 30, 0, "Queries", "questions asked", "queries" },
      { MISSING, T.K.vartype.COUNTER, 20, 0, "No such name", "answers that the name does not exist", "answers" },
      { BYTES, T.K.vartype.COUNTER, 20, 0, "Bytes", "bytes of questions and answers", "bytes" },
      { LONG_NAMES, T.K.vartype.COUNTER, 20, 0, "Long names", "different names with a very long first label", "names" },
    },
  },

  resourcegroup = {
    control = { guid = NAMES, name = "DNS names", description = "every name the first time it is asked for" },
  },

  alertgroup = {
    control = { guid = ALERTS, name = "DNS alerts", description = "domains with many long random names" },
  },

  protocol_handler = {
    control = {
      guid = DNS,
      name = "DNS",
      description = "Domain Name System over UDP",
      host_protocol_guid = UDP,
      host_protocol_ports = { 53 },
    },

    parselayer = function(layer)
      -- Shorter than a header is something else on the same port.
      if layer:layer_bytes() < HEADER_BYTES then return nil end
      return layer:layer_bytes()
    end,
  },

  simplecounter = {
    protocol_guid = DNS,

    onpacket = function(engine, layer)
      local bytes = layer:rawbytes()
      if bytes:hval_16(4) == 0 then return end
      local name, behind = question_name(bytes)
      if not name then return end
      name = printable(name)
      local domain = name == "" and "." or domain_of(name)
      engine:update_counter(GROUP, domain, BYTES, layer:total_bytes())

      local flags = bytes:hval_16(2)
      if flags >= 0x8000 then
        if flags % 16 == NAME_ERROR then engine:update_counter(GROUP, domain, MISSING, 1) end
        return
      end
      engine:update_counter(GROUP, domain, QUERIES, 1)
      if not is_new(name) then return end

      local type_number = bytes:hval_16(behind)
      local flow = layer:flowkey()
      engine:add_resource(NAMES, flow, name, "type " .. (TYPES[type_number] or type_number))
      if #name:match("^[^.]*") < LONG_LABEL then return end
      engine:update_counter(GROUP, domain, LONG_NAMES, 1)
      local count = (long_names[domain] or 0) + 1
      long_names[domain] = count
      if count % MANY_LONG == 0 then
        local message = string.format("%d different long names below %s, the last %s", count, domain, name)
        engine:add_alert(ALERTS, flow, "long-names", 1, message)
      end
    end,
  },
}
