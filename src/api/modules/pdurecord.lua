-- pdurecord: cuts a byte stream into the records of a protocol. The interface is that of the BITMAUL library.
--
-- A dissector says in `what_next` where the record ends that begins at the current position, and gets it whole in
-- `on_record`. Chunks may split and repeat the stream in any way. Where bytes are missing, the record they belong to is
-- given up; records go on at the next boundary that is known, else with a fresh `what_next` at the first byte after the
-- hole, which `on_gap`, if the dissector has it, is told about first.
local SweepBuf = require "sweepbuf"
local concat, error, find, floor, format = table.concat, error, string.find, math.floor, string.format
local pcall, setmetatable, sub, tonumber, type = pcall, setmetatable, string.sub, tonumber, type

-- Values of `state`, as scripts print and compare them.
local START, WANT_BYTES, WANT_PATTERN, SKIP, ABORT, WANT_START_PATTERN = 0, 1, 2, 3, 4, 6

-- A longer record is skipped: its length is most likely not a length.
local MAX_RECORD = 16 * 1024 * 1024
-- Patterns have to be searched from the start each time, so they get less room.
local MAX_PATTERN_SEARCH = 256 * 1024
-- So many records of no bytes in a row, and the dissector is stuck.
local MAX_EMPTY = 16

local PDURecord = {}

local function length_argument(value, name)
  local length = tonumber(value)
  if not length or not (length >= 0) then
    error(format("pdurecord: %s(%s): a length is a number from 0", name, tostring(value)), 3)
  end
  return floor(length)
end

--- The record ends after so many bytes.
function PDURecord:want_next(count)
  self.want_bytes = length_argument(count, "want_next")
  self.state = WANT_BYTES
end

local function want(self, delimiter, state)
  self.want_pattern, self.state, self._searched = tostring(delimiter), state, nil
end

--- The record ends with the next delimiter.
function PDURecord:want_to_pattern(delimiter)
  want(self, delimiter, WANT_PATTERN)
end

--- The record ends before the next delimiter, which begins the record after it.
function PDURecord:want_to_start_pattern(delimiter)
  want(self, delimiter, WANT_START_PATTERN)
end

--- So many bytes are of no interest.
function PDURecord:skip_next(count)
  self._skip = length_argument(count, "skip_next")
  self.state = SKIP
end

local function clear(self)
  self._sweepbuffer = SweepBuf.new("", self.head_pos)
  self._parts, self._pending = {}, 0
end

--- Nothing more of the stream is of interest.
function PDURecord:abort()
  clear(self)
  self.state, self.aborted_at_pos = ABORT, self.head_pos
end

local function available(self)
  return self._sweepbuffer:bytes_left() + self._pending
end

-- All unread bytes in one buffer. Chunks are collected until somebody looks at them, so that a record of many chunks is
-- copied once.
local function merge(self)
  if self._pending > 0 then
    local whole = self._sweepbuffer:buffer_left() .. concat(self._parts)
    self._sweepbuffer = SweepBuf.new(whole, self.head_pos - #whole)
    self._parts, self._pending = {}, 0
  end
  return self._sweepbuffer
end

local function drop_record(self)
  self.dropped = self.dropped + 1
end

-- Only the dissector knows its records; what it decides on part of a header is undone until there is more.
local function ask(self)
  local buffer = merge(self)
  local at = buffer.seekpos
  buffer.short = false
  local ok, reason = pcall(self.diss.what_next, self.diss, self, buffer)
  if self.state == ABORT then return false end
  if buffer.short then
    buffer.seekpos, self.state = at, START
  elseif not ok then
    self.state = START
    error(reason, 0)
  end
  if self.state ~= START then return true end
  if available(self) > self.max_record then
    drop_record(self)
    self:abort()
  end
  return false
end

local function deliver(self, record)
  -- Before the callback, so that an error in it leaves the stream in order.
  self.state = START
  if record == "" then
    self._empty = self._empty + 1
    if self._empty > MAX_EMPTY then
      drop_record(self)
      self:abort()
      return false
    end
  else
    self._empty = 0
  end
  self.diss:on_record(self, record)
  if self.state ~= SKIP and self.state ~= ABORT then self.state = START end
  return true
end

local function take_bytes(self)
  local count = self.want_bytes
  if count > self.max_record then
    drop_record(self)
    self:skip_next(count)
    return true
  end
  if available(self) < count then return false end
  local record = merge(self):next_str_to_len(count)
  return deliver(self, record)
end

-- Whether the delimiter can be in what arrived since the last search. Plain text needs only the new bytes and a tail of
-- the old ones.
local function may_match(self, delimiter)
  if SweepBuf.is_pattern(delimiter) or not self._searched then return true end
  local fresh = self._tail .. concat(self._parts, "", self._searched + 1)
  if find(fresh, delimiter, 1, true) then return true end
  self._searched = #self._parts
  self._tail = #delimiter > 1 and sub(fresh, 1 - #delimiter) or ""
  return false
end

local function take_to_pattern(self)
  local delimiter, limit = self.want_pattern, self.max_record
  if may_match(self, delimiter) then
    local buffer = merge(self)
    local at, record = buffer.seekpos, nil
    if self.state == WANT_PATTERN then
      record = buffer:next_str_to_pattern(delimiter)
    elseif self._discard then
      -- After a hole the delimiter may be the very next bytes.
      record = buffer:next_str_to_pattern(delimiter)
      if record then
        buffer.seekpos = at
        local first = find(buffer.buff, delimiter, at, not SweepBuf.is_pattern(delimiter))
        buffer.seekpos = first or at
      end
    else
      record = buffer:next_str_to_pattern_exclude(delimiter)
    end
    if record then
      if self._discard then
        self._discard, self.state = false, START
        return true
      end
      return deliver(self, record)
    end
    local left = buffer:buffer_left()
    self._searched, self._tail = 0, #delimiter > 1 and sub(left, 1 - #delimiter) or ""
    if SweepBuf.is_pattern(delimiter) and limit > MAX_PATTERN_SEARCH then limit = MAX_PATTERN_SEARCH end
  end
  if available(self) > limit then
    drop_record(self)
    self:abort()
  end
  return false
end

local function skip(self)
  local unread = available(self)
  if unread >= self._skip then
    local buffer = merge(self)
    buffer:inc(self._skip)
    self._skip, self.state = 0, START
    return true
  end
  self._skip = self._skip - unread
  clear(self)
  return false
end

local function pump(self)
  local go_on = true
  while go_on do
    local state = self.state
    if state == START then
      go_on = available(self) > 0 and ask(self)
    elseif state == WANT_BYTES then
      go_on = take_bytes(self)
    elseif state == SKIP then
      go_on = skip(self)
    elseif state == WANT_PATTERN or state == WANT_START_PATTERN then
      go_on = take_to_pattern(self)
    else
      go_on = false
    end
  end
end

-- Bytes are missing between what is buffered and what comes next.
local function lose(self, missing)
  local state, unread = self.state, available(self)
  self.gaps, self.lost_bytes = self.gaps + 1, self.lost_bytes + missing
  if state == SKIP and missing <= self._skip then
    self._skip = self._skip - missing
    return
  end
  if unread > 0 or state ~= START and state ~= SKIP then drop_record(self) end
  clear(self)
  if state == WANT_BYTES and unread + missing <= self.want_bytes then
    self:skip_next(self.want_bytes - unread - missing)
  elseif state == WANT_PATTERN or state == WANT_START_PATTERN then
    self._discard, self._searched = true, nil
  else
    self.state = START
    if self.diss.on_gap then self.diss:on_gap(self, missing) end
  end
end

--- Adds the bytes that begin at a position of the stream; the first chunk says where the stream begins.
function PDURecord:push_chunk(position, bytes)
  if type(bytes) ~= "string" then bytes = bytes:tostring() end
  position = tonumber(position) or error("pdurecord: push_chunk needs the position of the chunk", 2)
  if bytes == "" then return end
  if not self._started then
    self._started, self.head_pos = true, position
    clear(self)
  end
  local finish = position + #bytes
  local count = finish - self.head_pos
  if count <= 0 then return end
  local missing = position - self.head_pos
  if missing < 0 then
    bytes = sub(bytes, 1 - missing)
  elseif missing > 0 and self.state ~= ABORT then
    -- Everything up to the hole counts as read before the new bytes are announced.
    self.head_pos = position
    lose(self, missing)
  end
  self.head_pos = finish
  if self.state ~= ABORT then
    self._parts[#self._parts + 1] = bytes
    self._pending = self._pending + #bytes
  end
  if self.diss.on_newdata then
    self.diss:on_newdata(self, #bytes, self.state ~= ABORT and bytes or nil)
  end
  if self.state ~= ABORT then pump(self) end
end

local metatable = { __index = PDURecord }

function metatable.__tostring(self)
  return format("PDURecord: %s, state %d, %s", tostring(self.id), self.state, tostring(self._sweepbuffer))
end

local function new(id, dissector)
  return setmetatable({
    id = id,
    diss = dissector,
    state = START,
    head_pos = 0,
    timestamp = 0,
    max_record = MAX_RECORD,
    gaps = 0,
    lost_bytes = 0,
    dropped = 0,
    _sweepbuffer = SweepBuf.new("", 0),
    _parts = {},
    _pending = 0,
    _empty = 0,
    _skip = 0,
    _started = false,
    _discard = false,
  }, metatable)
end

return { new = new }
