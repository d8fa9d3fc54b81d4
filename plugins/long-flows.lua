-- Long flows: the conversations that last longest, ranked every five minutes.
--
-- Most flows are over within seconds. One that lasts for hours is a login that was forgotten, a tunnel, a stream, or a
-- program that keeps a way out open. Silence counts as well: what matters is the time from the first packet to the last.

-- Flows shorter than this are not ranked.
local LONG_SECS = 60

TrisulPlugin = {
  id = {
    name = "long-flows",
    description = "the flows that last longest",
    author = "millstream",
  },

  flowtracker = {
    control = { name = "Long flows", description = "seconds from first to last packet", bucketsize = 300, count = 50 },

    getmetric = function(engine, flow)
      local first, last = flow:time_window()
      if last - first < LONG_SECS then return nil end
      return last - first
    end,
  },
}
