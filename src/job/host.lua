-- Functions of the standard library as a worker's VM has them: what a job prints goes home with it, and the processes it
-- starts end with it.
local emit, execute, popen, kind = ...
local tostring, select, type, error, concat = tostring, select, type, error, table.concat
local io_type, io_close = io.type, io.close

function print(...)
  local parts = {}
  for i = 1, select("#", ...) do
    local part = tostring((select(i, ...)))
    if type(part) ~= "string" then error("'tostring' must return a string to 'print'", 2) end
    parts[i] = part
  end
  emit(concat(parts, "\t"))
end

os.execute = execute
io.popen = popen

function io.type(...)
  return kind(...) or io_type(...)
end

function io.close(...)
  local file = ...
  if kind(file) then return file:close() end
  return io_close(...)
end
