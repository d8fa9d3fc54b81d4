-- require "pdurecord": records from chunks split, repeated and lost in any way
local PDURecord = require "pdurecord"
local SweepBuf = require "sweepbuf"

-- Pseudo-random numbers that are the same in every run.
local seed = 42
local function random(limit)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return math.floor(seed / 65536) % limit + 1
end

local function dissector(what_next)
  local records = {}
  return { what_next = what_next, on_record = function(_, _, text) records[#records + 1] = text end, records = records }
end

local function push_randomly(pdur, stream, base)
  local at = 1
  while at <= #stream do
    local size = random(9) == 1 and random(300) or random(12)
    pdur:push_chunk(base + at - 1, stream:sub(at, at + size - 1))
    at = at + size
    if random(4) == 1 then
      -- Repeats what was seen, with or without something new.
      local back = math.max(1, at - random(40))
      pdur:push_chunk(base + back - 1, stream:sub(back, at - 1 + random(2) - 1))
    end
  end
end

-- Length-prefixed records. The length is peeked at without asking how much there is.
local function length_prefixed(_, pdur, sw) pdur:want_next(sw:peek_u16(1) + 3) end
local function message(text) return "T" .. string.char(math.floor(#text / 256), #text % 256) .. text end
local expected, stream = {}, {}
for i = 1, 60 do
  expected[i] = message(("x"):rep(random(600) - 1) .. i)
end
stream = table.concat(expected)
for round = 1, 40 do
  local diss = dissector(length_prefixed)
  local pdur = PDURecord.new("test", diss)
  push_randomly(pdur, stream, round % 2 == 0 and 0 or round * 1000)
  assert(#diss.records == #expected, #diss.records)
  for i = 1, #expected do assert(diss.records[i] == expected[i], i) end
  assert(pdur.gaps == 0 and pdur.dropped == 0)
end

-- The same when the header is read with next_ methods, and with u_ methods and inc.
for _, what_next in ipairs {
  function(_, pdur, sw)
    sw:inc(1)
    local length = sw:u16()
    sw:inc(-1)
    pdur:want_next(length + 3)
  end,
  function(_, pdur, sw)
    if sw:bytes_left() < 3 then return end
    pdur:want_next(sw:peek_u16(1) + 3)
  end,
} do
  local diss = dissector(what_next)
  push_randomly(PDURecord.new("test", diss), stream, 0)
  expect(#diss.records, #expected)
end

-- Lines, then a body of a length that a line tells; plain text and patterns as delimiters.
local http = "POST /x\r\nContent-Length: 11\r\n\r\nhello\r\nyou!" .. "POST /y\r\nContent-Length: 2\r\n\r\nok"
for _ = 1, 20 do
  local diss = { state = "head", records = {} }
  function diss:what_next(pdur)
    if self.state == "head" then pdur:want_to_pattern("\r\n\r\n") else pdur:want_next(self.length) end
  end
  function diss:on_record(_, text)
    self.records[#self.records + 1] = text
    self.length = tonumber(text:match("Content%-Length: (%d+)"))
    self.state = self.state == "head" and "body" or "head"
  end
  push_randomly(PDURecord.new("http", diss), http, 0)
  expect(#diss.records, 4)
  expect(diss.records[2], "hello\r\nyou!")
  expect(diss.records[4], "ok")
end
for _ = 1, 20 do
  local diss = dissector(function(_, pdur) pdur:want_to_pattern("9=%d+|") end)
  push_randomly(PDURecord.new("fix", diss), "8=FIX|9=61|35=A|9=7|", 1)
  -- A pattern takes what there is: it cannot know that more digits follow, but the delimiter after them makes it whole.
  expect(diss.records, { "8=FIX|9=61|", "35=A|9=7|" })
end

-- A marker at the start of each record.
local marker = ("\255"):rep(16)
for _ = 1, 20 do
  local diss = dissector(function(_, pdur) pdur:want_to_start_pattern(marker) end)
  push_randomly(PDURecord.new("bgp", diss), marker .. "one" .. marker .. "two" .. marker .. "three", 0)
  expect(#diss.records, 2)
  expect(diss.records[1], marker .. "one")
  expect(diss.records[2], marker .. "two")
end

-- Skipping and aborting.
for _ = 1, 20 do
  local diss = dissector(function(_, pdur, sw)
    local length = sw:peek_u16(1) + 3
    if length > 300 then pdur:skip_next(length) else pdur:want_next(length) end
  end)
  push_randomly(PDURecord.new("skip", diss), stream, 0)
  local short = 0
  for i = 1, #expected do
    if #expected[i] <= 300 then short = short + 1 end
  end
  expect(#diss.records, short)
end
local diss = dissector(length_prefixed)
local seen = {}
function diss:on_newdata(pdur, length, bytes) seen[#seen + 1] = { length, bytes } end
function diss:on_record(pdur) pdur:abort() end
local pdur = PDURecord.new("abort", diss)
pdur.engine, pdur.timestamp = "engine", 5
pdur:push_chunk(0, message("a") .. message("b"))
expect(pdur.state, 4)
expect(pdur.aborted_at_pos, 8)
pdur:push_chunk(8, "more")
pdur:push_chunk(4, "seen")
expect(#seen, 2)
expect(seen[1][1], 8)
expect(seen[2], { 4 })
assert(tostring(pdur):find("abort", 1, true))

-- Holes: a record with a hole is given up, the boundary after it is known.
diss = dissector(length_prefixed)
pdur = PDURecord.new("hole", diss)
local whole = message("first") .. message(("m"):rep(100)) .. message("last")
pdur:push_chunk(0, whole:sub(1, 30))
pdur:push_chunk(60, whole:sub(61))
expect(diss.records, { message("first"), message("last") })
expect({ pdur.gaps, pdur.lost_bytes, pdur.dropped }, { 1, 30, 1 })

-- A hole that hides the boundary: `on_gap` is told, then `what_next` decides afresh.
diss = dissector(length_prefixed)
local told
function diss:on_gap(_, missing) told = missing end
pdur = PDURecord.new("hole", diss)
pdur:push_chunk(0, whole:sub(1, 2))
pdur:push_chunk(8, whole:sub(9))
expect(told, 6)
expect(diss.records, { message(("m"):rep(100)), message("last") })

-- With a delimiter, what follows the hole is dropped up to the next one.
diss = dissector(function(_, p) p:want_to_pattern("\n") end)
pdur = PDURecord.new("lines", diss)
pdur:push_chunk(0, "one\ntw")
pdur:push_chunk(10, "o\nthree\n")
expect(diss.records, { "one\n", "three\n" })
diss = dissector(function(_, p) p:want_to_start_pattern("#") end)
pdur = PDURecord.new("marks", diss)
pdur:push_chunk(0, "#one#tw")
pdur:push_chunk(10, "#three#")
expect(diss.records, { "#one", "#three" })

-- A hole inside what is skipped does not matter.
diss = dissector(function(_, p, sw)
  if sw:u8() == 65 then p:skip_next(10) else p:want_next(2) end
end)
pdur = PDURecord.new("skip", diss)
pdur:push_chunk(0, "Aaa")
pdur:push_chunk(8, "aaBB")
expect(diss.records, { "BB" })

-- Errors of the dissector leave the stream in order.
local fail = true
diss = dissector(length_prefixed)
local records = diss.records
function diss:on_record(_, text)
  if fail then error("broken") end
  records[#records + 1] = text
end
pdur = PDURecord.new("error", diss)
expect_error("broken", function() pdur:push_chunk(0, message("a") .. message("b")) end)
fail = false
pdur:push_chunk(8, message("c"))
expect(records, { message("b"), message("c") })
diss = dissector(function() error("what_next broken") end)
expect_error("what_next broken", function() PDURecord.new("e", diss):push_chunk(0, "abc") end)
diss = dissector(function(_, p) p:want_next(-5) end)
expect_error("want_next(-5)", function() PDURecord.new("e", diss):push_chunk(0, "abc") end)

-- Nothing grows without bound, nothing runs for ever.
diss = dissector(function(_, p) p:want_next(4294967295) end)
pdur = PDURecord.new("huge", diss)
for i = 0, 99 do pdur:push_chunk(i * 1000, ("x"):rep(1000)) end
expect(pdur.dropped, 1)
expect(pdur._pending, 0)
diss = dissector(function(_, p) p:want_to_pattern("never") end)
pdur = PDURecord.new("endless", diss)
local block = ("y"):rep(65536)
for i = 0, 299 do pdur:push_chunk(i * 65536, block) end
expect(pdur.state, 4)
expect(pdur.dropped, 1)
diss = dissector(function(_, p) p:want_next(0) end)
pdur = PDURecord.new("empty", diss)
pdur:push_chunk(0, "abc")
expect(pdur.state, 4)
diss = dissector(function() end)
pdur = PDURecord.new("undecided", diss)
pdur.max_record = 1000
for i = 0, 99 do pdur:push_chunk(i * 100, ("z"):rep(100)) end
expect(pdur.state, 4)

-- A long record of small chunks takes time in proportion.
local started = os.clock()
diss = dissector(function(_, p) p:want_next(8000000) end)
pdur = PDURecord.new("long", diss)
for i = 0, 7999 do pdur:push_chunk(i * 1000, ("q"):rep(1000)) end
expect(#diss.records[1], 8000000)
diss = dissector(function(_, p) p:want_to_pattern("\r\n.\r\n") end)
pdur = PDURecord.new("mail", diss)
for i = 0, 7999 do pdur:push_chunk(i * 1000, ("q"):rep(1000)) end
pdur:push_chunk(8000000, "\r\n.")
pdur:push_chunk(8000003, "\r\n")
expect(#diss.records[1], 8000005)
assert(os.clock() - started < 20, "quadratic")

-- Objects that have tostring are accepted as chunks.
diss = dissector(length_prefixed)
PDURecord.new("object", diss):push_chunk("0", { tostring = function() return message("o") end })
expect(diss.records, { message("o") })
