-- HTTPHeader: a header block, taken apart by the host when a script asks.
--
-- Called once per VM with the objects and the host functions. The struct is that of api/events.rs; it is usable while the
-- sequence number of its block is the one in `cur`, as with buffers, and there are values of it as of these (values.lua).

local objects, host = ...
local ffi = objects.ffi
local cur, stale, to_text, type = objects.cur, objects.stale, objects.to_text, objects.type
local ffi_string, lower = ffi.string, string.lower
local REQUEST, RESPONSE = 1, 2

local HTTPHeader = {}

local function block_of(self)
  local block = self.block
  if block.seq ~= cur[0] then stale("HTTPHeader", 1) end
  return ffi_string(block.data, block.len)
end

local function kind_of(self)
  if self.block.seq ~= cur[0] then stale("HTTPHeader", 1) end
  return self.kind
end

function HTTPHeader:is_request() return kind_of(self) == REQUEST end
function HTTPHeader:is_response() return kind_of(self) == RESPONSE end
function HTTPHeader:get_method() return host.header_line(block_of(self), "method") end
function HTTPHeader:get_path() return host.header_line(block_of(self), "path") end
function HTTPHeader:get_status() return host.header_status(block_of(self)) end

function HTTPHeader:is_method(name)
  local block = block_of(self)
  name = to_text(name, 1, "is_method")
  if not name then return false end
  local method = host.header_line(block, "method")
  return method ~= "" and lower(method) == lower(name)
end

function HTTPHeader:get_value(name)
  local block = block_of(self)
  if type(name) == "number" then return name == 1 and host.header_value(block, "Content-Type") or "" end
  name = to_text(name, 1, "get_value")
  if not name then return host.nil_argument("get_value") end
  return host.header_value(block, name)
end

function HTTPHeader:get_all_headers() return host.header_fields(block_of(self)) end

function HTTPHeader:match_value(name, pattern)
  local block = block_of(self)
  name, pattern = to_text(name, 1, "match_value"), to_text(pattern, 2, "match_value")
  if not name or not pattern then return false end
  return host.header_matches(block, name, pattern)
end

objects.name_missing(HTTPHeader, "HTTPHeader")
objects.HTTPHeader = HTTPHeader
ffi.metatype("ms_http_header", {
  __index = HTTPHeader, __metatable = false,
  __tostring = function(v) return "HTTPHeader: " .. objects.format("%p", v) end,
})
