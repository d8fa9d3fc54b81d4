-- Says which names exist in every kind of VM: a line "owner <tab> name <tab> place" for each, in the file T.args.
--
-- TABLES (set in front of this text) holds the paths of the tables of T that are walked too. The same file is every
-- script of the run; each VM looks around once, from the first callback that is made in it.

local STANDARD = {}
for name in ("byte char dump find format gmatch gsub len lower match rep reverse sub upper gfind"):gmatch("%a+") do
  STANDARD[name] = true
end

local getmetatable, open, concat, pcall, pairs, tostring = debug.getmetatable, io.open, table.concat, pcall, pairs, tostring

local function walk_t(tell, path, t)
  for name, value in pairs(t) do
    local below = path .. "." .. name
    if TABLES[below] then walk_t(tell, below, value) else tell(path, name) end
  end
end

-- What workers have too.
local function look_around(tell)
  -- Most of it is there when something of it is first used.
  local _ = T.async.defer
  walk_t(tell, "T", T)
  for name in pairs(string) do
    if not STANDARD[name] then tell("string", name) end
  end
  for owner, object in pairs { re2 = T.re2("a"), ac = T.ac { "a" } } do
    for name in pairs(debug.getmetatable(object).__index) do tell(owner, name) end
  end
end

local function append(lines)
  local file = assert(open(T.args, "a"))
  file:write(concat(lines, "\n"), "\n")
  file:close()
end

local looked = {}

local function methods(tell, owner, object)
  for name in pairs(getmetatable(object).__index) do tell(owner, name) end
end

-- Once for each owner in each VM.
local function look(place, engine, objects)
  local lines = {}
  local function tell(owner, name) lines[#lines + 1] = owner .. "\t" .. name .. "\t" .. place end
  if not looked.T then
    looked.T = true
    look_around(tell)
    for name, method in pairs(getmetatable(engine).__index) do
      -- Methods of the other side are there, and say that they are not available.
      local ok, problem = pcall(method, engine)
      if ok or not tostring(problem):find("ERR_NOTAVAIL", 1, true) then tell("engine", name) end
    end
  end
  for owner, object in pairs(objects) do
    if not looked[owner] then
      looked[owner] = true
      methods(tell, owner, object)
    end
  end
  append(lines)
end

local function in_worker()
  local lines = {}
  look_around(function(owner, name)
    -- There, and not available in a worker.
    if owner == "T.async" then
      local ok, problem = pcall(T.async[name], T.async, {})
      if not ok and tostring(problem):find("ERR_NOTAVAIL", 1, true) then return end
    end
    lines[#lines + 1] = owner .. "\t" .. name .. "\tW"
  end)
  return table.concat(lines, "\n")
end

local ALERTS, RESOURCES = "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}", "{4EF9DEB9-4332-4867-A667-6A30C5900E9E}"
local CERTIFICATES, HOSTS = "{9FEB8ADE-ADBB-49AD-BC68-C6A02F389C71}", "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"

TrisulPlugin = {
  id = { name = "walk", description = "says which names exist" },

  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      if looked.T then return end
      look("F", engine, { Pipeline = T.gears("packets") })
      engine:add_alert(ALERTS, layer:flowkey(), "x", 1, "x")
      T.async:schedule { onexecute = in_worker, onresult = function(_, _, lines) append { lines } end }
    end,
  },

  cg_monitor = {
    counter_guid = HOSTS,
    onnewkey = function(engine) look("B", engine, { Pipeline = T.gears("flows") }) end,
  },
  alert_monitor = {
    alert_guid = ALERTS,
    onnewalert = function(engine, alert) look("B", engine, { Alert = alert }) end,
  },
  resource_monitor = {
    resource_guid = RESOURCES,
    onnewresource = function(engine, resource) look("B", engine, { Resource = resource }) end,
  },
  fts_monitor = {
    fts_guid = CERTIFICATES,
    onnewfts = function(engine, document) look("B", engine, { FTS = document }) end,
  },
  sg_monitor = {
    onnewflow = function(engine, flow) look("B", engine, { Flow = flow, FlowID = flow:flow() }) end,
  },
}
