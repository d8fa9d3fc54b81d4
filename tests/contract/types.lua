-- Arguments of the wrong type for every method of the engine: a table, a function, a boolean or a thread is an error that
-- names the argument and the method; nothing happens to the host.
local cases = require "cases"
local case, fails = cases.case, cases.fails

local G = "{0B1C2D3E-0000-4000-8000-00000000ABCD}"
local A, R = "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}", "{4EF9DEB9-4332-4867-A667-6A30C5900E9E}"
local F = T.args

-- Valid arguments of each method, and what each argument is: "s" text, "n" a number, "f" a flow key.
local methods = {
  update_counter = { "ssnn", G, "k", 0, 1 },
  update_counter_raw = { "ssnn", G, "k", 0, 1 },
  update_counter_bytes = { "ssn", G, "k", 0 },
  update_key_info = { "ssss", G, "k", "label", "description" },
  set_key_attribute = { "ssss", G, "k", "name", "value" },
  add_alert = { "sfsns", A, F, "sig", 1, "message" },
  add_alert_full = { "sfssnss", A, F, "sig", "class", 1, "message", "ALARM" },
  add_alert_ids = { "sfssnss", A, F, "sig", "class", 1, "message", "ALARM" },
  add_alert_tca = { "snss", A, 5, "FIRED", "message" },
  add_resource = { "sfss", R, F, "uri", "contents" },
  add_flow_counter = { "fssnn", F, G, "k", 0, 0 },
  reset_flow_counter = { "fssnn", F, G, "k", 0, 0 },
  tag_flow = { "fs", F, "tag" },
  update_flow = { "fnn", F, 0, 1 },
  update_flow_raw = { "fnn", F, 0, 1 },
  new_flow_record = { "fnnnn", F, 1, 2, 3, 4 },
  set_flow_duration = { "fn", F, 1 },
  terminate_flow = { "f", F },
  disable_reassembly = { "f", F },
  add_flow_attribute = { "fss", F, "name", "value" },
  add_edge = { "ssss", G, "a", G, "b" },
  add_flow_edges = { "fss", F, G, "k" },
  post_message_frontend = { "ss", "{11111111-2222-3333-4444-555555555555}", "text" },
  post_message_backend = { "ss", "{11111111-2222-3333-4444-555555555555}", "text" },
}

local wrong = { {}, print, true, coroutine.create(print) }
local expected = { s = "string", n = "number", f = "string" }

local function try(engine, name)
  local valid = methods[name]
  local kinds = valid[1]
  for i = 1, #kinds do
    for _, bad in ipairs(wrong) do
      local args = {}
      for k = 1, #kinds do args[k] = valid[k + 1] end
      args[i] = bad
      fails(("bad argument #%d to '%s' (%s expected, got %s)"):format(i, name, expected[kinds:sub(i, i)], type(bad)),
        engine[name], engine, unpack(args, 1, #kinds))
    end
    -- Odd values never raise.
    for _, odd in ipairs { "", 0 / 0, 1 / 0, -1, 1e300, ("x"):rep(300) } do
      if kinds:sub(i, i) ~= "n" or type(odd) == "number" then
        local args = {}
        for k = 1, #kinds do args[k] = valid[k + 1] end
        args[i] = odd
        engine[name](engine, unpack(args, 1, #kinds))
      end
    end
    local args = {}
    for k = 1, #kinds do args[k] = valid[k + 1] end
    args[i] = nil
    engine[name](engine, unpack(args, 1, #kinds))
  end
end

local function run(engine)
  case("wrong_types_of_counter_methods", function()
    for _, name in ipairs { "update_counter", "update_counter_raw", "update_counter_bytes", "update_key_info",
      "set_key_attribute" } do
      try(engine, name)
    end
  end)
  case("wrong_types_of_alert_and_resource_methods", function()
    for _, name in ipairs { "add_alert", "add_alert_full", "add_alert_ids", "add_alert_tca", "add_resource" } do
      try(engine, name)
    end
  end)
  case("wrong_types_of_flow_methods", function()
    for _, name in ipairs { "add_flow_counter", "reset_flow_counter", "tag_flow", "update_flow", "update_flow_raw",
      "new_flow_record", "set_flow_duration", "terminate_flow", "disable_reassembly", "add_flow_attribute" } do
      try(engine, name)
    end
  end)
  case("wrong_types_of_edge_and_message_methods", function()
    for _, name in ipairs { "add_edge", "add_flow_edges", "post_message_frontend", "post_message_backend" } do
      try(engine, name)
    end
  end)
  case("text_that_is_no_number_is_an_error", function()
    fails("bad argument #4 to 'update_counter' (number expected, got string)", engine.update_counter, engine, G, "k", 0, "x")
  end)
end

local done = false
TrisulPlugin = {
  id = { name = "types", description = "" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine)
      if not done then
        done = true
        run(engine)
      end
    end,
  },
}
