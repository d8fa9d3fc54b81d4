-- countergroup: describe a set of counters; any plugin may then update them.
--
-- Run it:       millstream check samples/countergroup.lua
-- What it does: nothing by itself. It defines a group with one meter of each kind; the comments say how values combine.
--               Other plugins count into it with engine:update_counter(guid, key, meter, value).

local MY_GROUP = "{C1DC4853-502D-4E79-8E3F-898ED8BDE167}"
local kind = T.K.vartype

TrisulPlugin = {
  id = { name = "sample-countergroup", description = "a counter group with one meter of each kind" },

  countergroup = {
    control = {
      guid = MY_GROUP,
      name = "Sample: all kinds",
      description = "one meter of each kind",
      -- Length of a bucket in seconds: values are combined within a bucket, and each bucket gives one number.
      bucketsize = 30,
    },

    -- Columns: meter number (from 0, at most 31), kind, how many top keys to keep (0 for none), how many bottom keys,
    -- name, description, unit.
    meters = {
      { 0, kind.COUNTER, 10, 0, "Count", "sum of the updates of the bucket", "n" },
      { 1, kind.RATE_COUNTER, 10, 0, "Rate", "the sum divided by the seconds of the bucket", "n/s" },
      { 2, kind.GAUGE, 10, 0, "Level", "the last update", "n" },
      { 3, kind.RUNNING_COUNTER, 10, 0, "Balance", "a total that goes on from bucket to bucket; updates may be negative", "n" },
      { 4, kind.AVERAGE, 10, 0, "Average", "mean of the updates", "n" },
      { 5, kind.DELTA_RATE_COUNTER, 10, 0, "Counter reading", "growth per second of a counter read now and then", "n/s" },
      { 6, kind.MAXIMUM, 10, 0, "Largest", "largest update", "n" },
      { 7, kind.MINIMUM, 10, 0, "Smallest", "smallest update", "n" },
    },

    -- Names for keys that are known from the start; others get theirs with engine:update_key_info(guid, key, label).
    keyinfo = {
      { "p-0050", "http" },
      { "p-01BB", "https" },
    },
  },
}
