-- Loops over what happened to flows. Loaded from text once per plugin instance, as the packet driver is, and for the same
-- reason. Every callback runs under xpcall with the sequence number of its event as the progress of the VM.
--
-- Called with the objects, the engine, the callbacks by topic, the message handler, the address and number of the event
-- slots, the address of what tells of each row, whether the script might keep the objects of flows, and the topics whose
-- callbacks might keep a buffer or header.

local objects, engine, callbacks, on_error, base, slots, row_address, keeps, by_value = ...
local ffi = objects.ffi
local error, xpcall, cur, type, pcall, floor = objects.error, objects.xpcall, objects.cur, objects.type, objects.pcall, objects.floor
local new_flow, flow_of_event, to_number = objects.new_flow, objects.flow_of_event, objects.to_number
local ffi_string, ffi_new, ffi_copy = ffi.string, ffi.new, ffi.copy
local band, bor, lshift = objects.bit.band, objects.bit.bor, objects.bit.lshift

local lend_buffer, lend_header = objects.lend_buffer, objects.lend_header

-- The numbers of api/events.rs.
local FILTER, NEW, PAYLOAD, ATTRIBUTE, END, METRIC, RECORD, STORE, STORE_PAYLOAD = 1, 2, 3, 4, 5, 6, 7, 8, 9
local RAW, HTTP_FILTER, HTTP_PAYLOAD, HTTP_FILE, HTTP_END = 10, 11, 12, 13, 14
local NO, QUIET, ASKED = 1, 2, 4
-- Bits of a script's voice about a flow that keep a topic from it.
local closed = {}
closed[FILTER], closed[NEW], closed[PAYLOAD], closed[ATTRIBUTE], closed[END] = 0, NO, bor(NO, QUIET), NO, NO
closed[METRIC], closed[RECORD], closed[STORE], closed[STORE_PAYLOAD] = 0, 0, 0, 0
closed[RAW], closed[HTTP_FILTER], closed[HTTP_PAYLOAD] = bor(NO, QUIET), NO, bor(NO, QUIET)
closed[HTTP_FILE], closed[HTTP_END] = bor(NO, QUIET), NO

local row = ffi.cast("ms_event_row *", row_address)
local first_event = ffi.cast("ms_event *", base)
local events, buffers = {}, {}
for i = 0, slots - 1 do
  events[i] = first_event + i
  buffers[i] = ffi.cast("ms_buffer *", first_event + i)
end

-- FlowID objects by slot, so that a script that might keep them meets the same object in every callback of a flow; in slots
-- beyond the limit each callback gets an equal one. Both are arrays without holes: keys added to a hash and taken out again, flow after flow,
-- make it grow anew all the time.
local MOST_SLOTS = 131072
local flows, generations, room = {}, ffi.new("uint32_t[?]", 256), 256
for i = 0, room - 1 do flows[i] = false end

local function make_room(slot)
  local before = room
  while room <= slot do room = room * 2 end
  local grown = ffi_new("uint32_t[?]", room)
  ffi_copy(grown, generations, 4 * before)
  generations = grown
  for i = before, room - 1 do flows[i] = false end
end

local function flow_of(event)
  local slot = event.slot
  if slot < 0 then return new_flow(ffi_string(event.text, event.text_len)) end
  -- Cheaper than to remember one; of most scripts the compiler leaves it out.
  if not keeps and event.ends.protocol >= 0 then return flow_of_event(event) end
  if slot >= room then
    if slot >= MOST_SLOTS then return flow_of_event(event) end
    make_room(slot)
  end
  local flow = flows[slot]
  if flow and generations[slot] == event.generation then return flow end
  flow = flow_of_event(event)
  -- With its end a flow is forgotten.
  if event.topic ~= END then flows[slot], generations[slot] = flow, event.generation end
  return flow
end

-- A flow has ended: nothing more is told of it.
local function forget(slot)
  row.voices[slot] = bor(row.voices[slot], NO)
  if slot < room then flows[slot] = false end
end

-- An attribute of a flow that is not in the table carries the id in front of the name, separated by a NUL byte.
local function attribute_flow(event)
  if event.slot >= 0 then return flow_of(event), ffi_string(event.text, event.text_len) end
  local length = event.numbers[0]
  return new_flow(ffi_string(event.text, length)), ffi_string(event.text + length, event.text_len - length)
end

-- What a script answered about storing, as a policy; everything that is none is -1.
local function policy(answer)
  if type(answer) ~= "number" then
    local ok, number = pcall(to_number, answer, 1, "filter")
    if not ok or not number then return -1 end
    answer = number
  end
  if answer >= 0 and answer <= 6 and floor(answer) == answer then return answer end
  return -1
end

-- Where a callback might keep them, values of what it is lent.
local function buffer_for(topic, buffer) return by_value[topic] and lend_buffer(buffer) or buffer end
local function header_for(topic, header) return by_value[topic] and lend_header(header) or header end

-- What is told of HTTP. Votes about an exchange have a bit for each direction.
local function http(callback, event, buffer)
  local topic, direction, flow = event.topic, event.direction, flow_of(event)
  if topic == RAW then
    return true, xpcall(callback, on_error, engine, event.time, flow, direction, event.numbers[0],
      buffer_for(topic, buffer))
  elseif topic == HTTP_END then
    return true, xpcall(callback, on_error, engine, event.time, flow)
  end
  local votes, exchange, declined = row.votes, event.exchange, lshift(1, direction)
  if band(votes[exchange], declined) ~= 0 then return false end
  if topic == HTTP_FILTER then
    local header = header_for(topic, direction == 0 and event.request or event.response)
    local ok, answer = xpcall(callback, on_error, engine, event.time, flow, header)
    -- Who does not want a request does not want its response either.
    if ok and answer == false then votes[exchange] = direction == 0 and 3 or bor(votes[exchange], declined) end
    return true, ok, answer
  end
  local path = ffi_string(event.text, event.text_len)
  local request, response = header_for(topic, event.request), header_for(topic, event.response)
  if topic == HTTP_PAYLOAD then
    return true, xpcall(callback, on_error, engine, event.time, flow, path, request, response, direction,
      event.numbers[0], buffer_for(topic, buffer))
  end
  return true, xpcall(callback, on_error, engine, event.time, flow, path, request, response, event.numbers[0],
    event.numbers[1] ~= 0)
end

-- Runs the events of a row, whose description stays where it is: arguments would cost more than a short row. `picks` are
-- their slots; `voices` has a byte for each flow; `answers` takes what the script says about storing, by place from `first`;
-- `votes` has a byte for each exchange of HTTP; `errors` counts errors in a row of each topic. The loop ends early when one
-- reaches `limit`.
return function()
  local calls, first = 0, row.first
  row.topic = 0
  for n = 0, row.count - 1 do
    local i = row.picks[n]
    local event = events[i]
    local topic, slot = event.topic, event.slot
    local callback = callbacks[topic]
    if callback and (slot < 0 or band(row.voices[slot], closed[topic]) == 0) and (topic ~= END or event.numbers[0] ~= 0) then
      local ok, answer
      local called = true
      cur[0] = event.buf.seq
      if topic == PAYLOAD then
        ok, answer = xpcall(callback, on_error, engine, event.time, flow_of(event), 1 - event.direction, event.numbers[0],
          buffer_for(topic, buffers[i]))
      elseif topic == ATTRIBUTE then
        local flow, name = attribute_flow(event)
        ok, answer = xpcall(callback, on_error, engine, event.time, flow, name, ffi_string(event.buf.data, event.buf.len))
      elseif topic == METRIC then
        ok, answer = xpcall(callback, on_error, engine, flow_of(event), event.numbers[0], event.numbers[1])
      elseif topic == RECORD then
        local n = event.numbers
        ok, answer = xpcall(callback, on_error, engine, flow_of(event), n[0], n[1], n[2], n[3])
      elseif topic == STORE_PAYLOAD then
        local asked = lshift(ASKED, event.direction)
        local voices = row.voices
        if band(voices[slot], asked) == 0 then
          voices[slot] = bor(voices[slot], asked)
          ok, answer = xpcall(callback, on_error, engine, event.time, flow_of(event), event.direction, event.numbers[0],
            buffer_for(topic, buffers[i]))
          if ok then row.answers[i - first] = policy(answer) end
        else
          called = false
        end
      elseif topic >= RAW then
        called, ok, answer = http(callback, event, buffers[i])
      else
        ok, answer = xpcall(callback, on_error, engine, event.time, flow_of(event))
        if topic == FILTER then
          if ok and answer == false then row.voices[slot] = bor(row.voices[slot], NO) end
        elseif topic == STORE then
          if ok then row.answers[i - first] = policy(answer) end
        end
      end
      if called then
        calls = calls + 1
        if ok then
          row.errors[topic] = 0
        elseif answer ~= nil then
          -- The handler returns nothing, except when memory ran out; then it may not be called at all, and it may fail itself.
          error(answer, 0)
        else
          local errors = row.errors
          errors[topic] = errors[topic] + 1
          if errors[topic] >= row.limit then
            if topic == END then forget(slot) end
            row.done, row.calls, row.topic = n + 1, calls, topic
            return
          end
        end
      end
    end
    if topic == END then forget(slot) end
  end
  row.done, row.calls = row.count, calls
end
