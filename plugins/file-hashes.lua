-- File hashes: the SHA-256 of every file that is downloaded or uploaded over HTTP.
--
-- Run it with --set 'Reassembly>FileExtraction>Enabled=true'. Each file becomes a resource of the group File Hashes, with
-- where it came from, and its flow gets a tag with the beginning of the hash. Hashing is done by a worker; packets do not
-- wait. Files that come in chunks are put together first. Of a capture file, results come when it ends: a tag for a flow whose
-- record was written before is counted (`flow_statements_late`).

local RESOURCES = "{9781DB2C-F78A-4F7F-A7E8-2B1A9A7BE71A}"
local GROUP = "{6A0F4E2B-7B53-4C11-9B64-0A6B0C7C9D21}"
-- Files in chunks that are under way; beyond that the chunks are hashed by themselves.
local MAX_OPEN = 1000

-- Chunked files by flow: number of chunks so far, and the name under which they are collected.
local open, open_count = {}, 0

-- Runs on a worker. Data is "flow|url|path|rm". Of a file that cannot be read, nothing is reported.
local function hash(data)
  local path, after = data:match("|([^|]*)|(%a*)$")
  local hex, problem = T.util.sha256_file(path)
  if not hex then T.logwarning(problem) end
  if after == "rm" then os.remove(path) end
  return hex
end

local function report(engine, data, hex)
  local flow, url = data:match("^([^|]*)|([^|]*)|")
  engine:add_resource(RESOURCES, flow, "SHA256:" .. hex, url)
  engine:tag_flow(flow, "[sha256]" .. hex:sub(1, 16))
  engine:update_counter(GROUP, hex:sub(1, 16), 0, 1)
end

local function submit(flow, url, path, after)
  T.async:schedule { data = flow .. "|" .. url .. "|" .. path .. "|" .. after, onexecute = hash, onresult = report }
end

local function url_of(request)
  local url = (request:get_value("Host") or "") .. request:get_path()
  return (url:gsub("|", "%%7C"))
end

local function name_of_chunks(path) return (path:gsub("%.%d+%.part$", ".whole")) end

TrisulPlugin = {
  id = {
    name = "file-hashes",
    description = "SHA-256 of every file carried by HTTP",
    author = "millstream",
  },

  -- One worker, so that chunks are put together before they are hashed.
  request_async_workers = 1,

  countergroup = {
    control = { guid = GROUP, name = "File hashes", description = "how often each file was seen", bucketsize = 60 },
    meters = { { 0, T.K.vartype.COUNTER, 20, 0, "Files", "times the file was seen", "files" } },
  },

  filex_monitor = {
    onfile_http = function(engine, timestamp, flow, path, request, response, length, is_chunk)
      if length == 0 then return end
      if not is_chunk then return submit(flow:id(), url_of(request), path, "") end
      local whole = name_of_chunks(path)
      if not open[whole] then
        if open_count >= MAX_OPEN then return submit(flow:id(), url_of(request), path, "") end
        open[whole], open_count = { flow = flow:id(), url = url_of(request) }, open_count + 1
      end
      T.async:cat(path, whole)
    end,

    -- Nothing tells the last chunk from the others; when the flow is over there are no more.
    onterminateflow = function(engine, timestamp, flow)
      local id = flow:id()
      for whole, file in pairs(open) do
        if file.flow == id then
          open[whole], open_count = nil, open_count - 1
          submit(id, file.url, whole, "rm")
        end
      end
    end,
  },
}
