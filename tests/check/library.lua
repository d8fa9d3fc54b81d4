-- No plugin: other files use it.
local library = {}
function library.twice(x) return 2 * x end
return library
