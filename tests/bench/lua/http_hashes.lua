-- Hashes of everything HTTP carries, made by a worker. --set 'Bench>Hash=md5' takes another hash than SHA-256.
local GROUP = "{7D0B63C6-2E0A-4B0E-8C51-9F6E2D4A7B13}"
local HASH = T.env.get_config("Bench>Hash") == "md5" and "md5_file" or "sha256_file"
local done = 0

-- Runs on a worker; data is "length|path".
local function hash(data) return T.util[HASH](data:match("|(.*)$")) end

local function hashed(engine, data, hex)
  local key = hex:sub(1, 16)
  engine:update_counter(GROUP, key, 0, 1)
  engine:update_counter(GROUP, key, 1, tonumber(data:match("^%d+")))
  done = done + 1
end

TrisulPlugin = {
  id = { name = "bench-http-hashes", description = "hashes of what HTTP carries" },

  request_async_workers = 1,

  onunload = function() print("hashed=" .. done) end,

  countergroup = {
    control = { guid = GROUP, name = "Bench: hashes", description = "files by hash", bucketsize = 60 },
    meters = {
      { 0, T.K.vartype.COUNTER, 10, 0, "Files", "times the file was seen", "files" },
      { 1, T.K.vartype.COUNTER, 10, 0, "Bytes", "bytes of them", "bytes" },
    },
  },

  filex_monitor = {
    onfile_http = function(engine, timestamp, flow, path, request, response, length)
      if length == 0 then return end
      T.async:schedule { data = length .. "|" .. path, onexecute = hash, onresult = hashed }
    end,
  },
}
