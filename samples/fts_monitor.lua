-- fts_monitor: see full texts: certificates and HTTP headers in readable form.
--
-- Run it:       millstream run -r pcaps/demo.pcap -p samples/fts_monitor.lua
-- What it does: prints the subject of every certificate, and keeps only those that are signed with SHA-1.

TrisulPlugin = {
  id = { name = "sample-fts_monitor", description = "subjects of certificates" },

  fts_monitor = {
    -- The group by its GUID, or a function that finds it.
    fts_guid = function() return T.ftsgroups["SSL Certs"] end,

    -- As soon as a document has come, within a second.
    onnewfts = function(engine, fts)
      local subject = fts:text():match("Subject: ([^\n]*)")
      if subject then print(fts:flow():ipz_readable(), subject) end
    end,

    onbeginflush = function(engine, timestamp) end,

    -- A no of every script keeps a document from being stored. key() is a hash of the text.
    flushfilter = function(engine, fts)
      return fts:text():find("sha1WithRSA", 1, true) ~= nil
    end,

    onflush = function(engine, fts) T.logwarning("SHA-1 in certificate " .. fts:key()) end,

    onendflush = function(engine, timestamp) end,
  },
}
