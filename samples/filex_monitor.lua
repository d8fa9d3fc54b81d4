-- filex_monitor: see what HTTP carries, as it comes or as files.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/filex_monitor.lua --set 'Reassembly>FileExtraction>Enabled=true'
-- What it does: prints every download of text with its length, and has a worker look at the file.

TrisulPlugin = {
  id = { name = "sample-filex_monitor", description = "looks at text that is downloaded" },

  filex_monitor = {
    -- Once per TCP flow, before its first byte. Only false is a NO; it holds for this script alone. Leave it out to see all.
    filter_flow = function(engine, timestamp, flow) return flow:portz_readable() ~= "25" end,

    -- For the header of each request and each response. A NO to a request is one to its response too.
    filter = function(engine, timestamp, flow, header)
      if header:is_request() then return header:is_method("GET") end
      return header:get_status() == 200 and header:match_value("Content-Type", "^text/")
    end,

    -- Bodies as they come, decoded: direction is 0 for what is sent and 1 for what is received. The last call has an empty
    -- buffer. With onpayload_http alone nothing is written. There is onpayload_raw too, for the bytes of the stream.
    onpayload_http = function(engine, timestamp, flow, path, request, response, direction, seekpos, buffer)
      if buffer:size() == 0 then print(request:get_path(), seekpos .. " bytes") end
    end,

    -- A complete file below RamFsDir, or a chunk of one that is larger than ChunkSizeMB. It is deleted when this has returned
    -- and every item given to T.async here has ended, so hand the path on and do not wait.
    onfile_http = function(engine, timestamp, flow, path, request, response, length, is_chunk)
      T.async:schedule {
        data = path,
        onexecute = function(data)
          local file = io.open(data)
          if not file then return nil end
          local first = file:read("*l")
          file:close()
          return first
        end,
        onresult = function(engine, data, first) print(data:match("^.+/(.+)$"), "begins with " .. first) end,
      }
    end,

    -- The flow is over, if it was HTTP.
    onterminateflow = function(engine, timestamp, flow) end,
  },
}
