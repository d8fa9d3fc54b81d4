-- Question: Was a file downloaded that is on a list of hashes?
-- Shows:    filex_monitor and T.async: a worker hashes the file and reads the list, the packets go on
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/file-list.lua --set 'Reassembly>FileExtraction>Enabled=true' --args docs/cookbook/data/hashes.txt

local ALERTS = "{B47689DC-D64D-4788-81C2-C34028189164}"
local FILE_HASHES = "{9781DB2C-F78A-4F7F-A7E8-2B1A9A7BE71A}"
-- Captured by the function below, so it travels to the worker.
local LIST = T.args

-- Runs on a worker; data is "flow|url|path". A worker keeps its globals, so it reads the list once.
local function look_up(data)
  if not _G.known then
    local list = {}
    for line in io.lines(LIST) do
      local hash, name = line:match("^(%x+)%s+(.+)$")
      if hash then list[hash:lower()] = name end
    end
    _G.known = list
  end
  local hash = T.util.sha256_file(data:match("|([^|]*)$"))
  return hash and hash .. "|" .. (_G.known[hash] or "")
end

local function report(engine, data, result)
  local flow, url = data:match("^([^|]*)|([^|]*)|")
  local hash, name = result:match("^(%x+)|(.*)$")
  engine:add_resource(FILE_HASHES, flow, "SHA256:" .. hash, url)
  if name ~= "" then
    engine:add_alert(ALERTS, flow, "KNOWNFILE", 1, url .. " is " .. name)
  end
end

TrisulPlugin = {
  id = { name = "file-list", description = "files carried by HTTP, against a list of SHA-256 hashes" },

  onload = function()
    if T.args == "" then
      T.logerror("name the list of hashes: --args FILE")
      return false
    end
  end,

  alertgroup = {
    control = { guid = ALERTS, name = "Known files", description = "files that are on the list" },
  },

  filex_monitor = {
    onfile_http = function(engine, timestamp, flow, path, request, response, length, is_chunk)
      -- A file in pieces would have to be put together first; see plugins/file-hashes.lua.
      if is_chunk or length == 0 then return end
      local url = (request:get_value("Host") or "") .. request:get_path()
      T.async:schedule {
        data = flow:id() .. "|" .. url:gsub("|", "%%7C") .. "|" .. path,
        onexecute = look_up,
        onresult = report,
      }
    end,
  },
}
