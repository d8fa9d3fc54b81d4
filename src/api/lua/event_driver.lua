-- Loops over what happened to flows. Loaded from text once per plugin instance, as the packet driver is, and for the same
-- reason. Every callback runs under xpcall with the sequence number of its event as the progress of the VM.
--
-- Called with the objects, the engine, the callbacks by topic, the message handler, and the address and number of the
-- event slots.

local objects, engine, callbacks, on_error, base, slots = ...
local ffi = objects.ffi
local error, xpcall, cur, type, pcall, floor = objects.error, objects.xpcall, objects.cur, objects.type, objects.pcall, objects.floor
local new_flow, flow_name, to_number = objects.new_flow, objects.flow_name, objects.to_number
local ffi_string = ffi.string
local band, bor, lshift = objects.bit.band, objects.bit.bor, objects.bit.lshift

-- The numbers of api/events.rs.
local FILTER, NEW, PAYLOAD, ATTRIBUTE, END, METRIC, RECORD, STORE, STORE_PAYLOAD = 1, 2, 3, 4, 5, 6, 7, 8, 9
local NO, QUIET, ASKED = 1, 2, 4
-- Bits of a script's voice about a flow that keep a topic from it.
local closed = {}
closed[FILTER], closed[NEW], closed[PAYLOAD], closed[ATTRIBUTE], closed[END] = 0, NO, bor(NO, QUIET), NO, NO
closed[METRIC], closed[RECORD], closed[STORE], closed[STORE_PAYLOAD] = 0, 0, 0, 0

local first_event = ffi.cast("ms_event *", base)
local events, buffers = {}, {}
for i = 0, slots - 1 do
  events[i] = first_event + i
  buffers[i] = ffi.cast("ms_buffer *", first_event + i)
end

-- FlowID objects by slot, so that a script meets the same object in every callback of a flow. Bounded; beyond that each
-- callback gets an equal one.
local MOST_FLOWS = 100000
local flows, generations, kept = {}, {}, 0

local function flow_of(event)
  local slot = event.slot
  if slot < 0 then return new_flow(ffi_string(event.text, event.text_len)) end
  local flow = flows[slot]
  if flow and generations[slot] == event.generation then return flow end
  if flow then
    flows[slot] = nil
    kept = kept - 1
  end
  flow = new_flow(flow_name(slot, event.generation))
  -- With its end a flow is forgotten.
  if event.topic ~= END and kept < MOST_FLOWS then
    flows[slot], generations[slot] = flow, event.generation
    kept = kept + 1
  end
  return flow
end

-- A flow has ended: nothing more is told of it.
local function forget(slot, voices)
  voices[slot] = bor(voices[slot], NO)
  if flows[slot] then
    flows[slot], generations[slot] = nil, nil
    kept = kept - 1
  end
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

-- Runs the events in the slots first..last. `voices` has a byte for each flow; `answers` takes what the script says about
-- storing, by place from `first`; `rows` counts errors in a row of each topic. The loop ends early when one reaches
-- `row_limit`. Returns the slot to go on with, the number of callbacks made, and the topic that reached the limit, or 0.
return function(first, last, voices, answers, rows, row_limit)
  voices, answers, rows = ffi.cast("uint8_t *", voices), ffi.cast("int32_t *", answers), ffi.cast("int32_t *", rows)
  local calls = 0
  for i = first, last do
    local event = events[i]
    local topic, slot = event.topic, event.slot
    local callback = callbacks[topic]
    if callback and (slot < 0 or band(voices[slot], closed[topic]) == 0) and (topic ~= END or event.numbers[0] ~= 0) then
      local ok, answer
      local called = true
      cur[0] = event.buf.seq
      if topic == PAYLOAD then
        ok, answer = xpcall(callback, on_error, engine, event.time, flow_of(event), 1 - event.direction, event.numbers[0], buffers[i])
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
        if band(voices[slot], asked) == 0 then
          voices[slot] = bor(voices[slot], asked)
          ok, answer = xpcall(callback, on_error, engine, event.time, flow_of(event), event.direction, event.numbers[0], buffers[i])
          if ok then answers[i - first] = policy(answer) end
        else
          called = false
        end
      else
        ok, answer = xpcall(callback, on_error, engine, event.time, flow_of(event))
        if topic == FILTER then
          if ok and answer == false then voices[slot] = bor(voices[slot], NO) end
        elseif topic == STORE then
          if ok then answers[i - first] = policy(answer) end
        end
      end
      if called then
        calls = calls + 1
        if ok then
          rows[topic] = 0
        elseif answer ~= nil then
          -- The handler returns nothing; it is not called when memory runs out, and it may fail itself.
          error(answer, 0)
        else
          rows[topic] = rows[topic] + 1
          if rows[topic] >= row_limit then
            if topic == END then forget(slot, voices) end
            return i + 1, calls, topic
          end
        end
      end
    end
    if topic == END then forget(slot, voices) end
  end
  return last + 1, calls, 0
end
