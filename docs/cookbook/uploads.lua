-- Question: Who sends a lot to somewhere outside?
-- Shows:    sg_monitor.onflush with the numbers of a flow, home networks, a tag on the record that is kept
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/uploads.lua

local ALERTS = "{DDCB9DB9-08A0-40DD-8847-A6402565A19D}"
-- At least so many bytes of payload, and so many times as much as came back.
local MIN_BYTES, MIN_RATIO = 50000, 5

TrisulPlugin = {
  id = { name = "uploads", description = "flows that carry much out of the home networks" },

  alertgroup = {
    control = { guid = ALERTS, name = "Uploads", description = "large uploads to hosts outside" },
  },

  sg_monitor = {
    onflush = function(engine, flow)
      local id = flow:flow()
      local from, to = id:ipa(), id:ipz()
      local out, back = flow:az_payload_bytes(), flow:za_payload_bytes()
      if not T.host.is_homenet_key(from) or T.host.is_homenet_key(to) then return end
      if out < MIN_BYTES or out < MIN_RATIO * back then return end
      flow:add_tag("upload")
      engine:add_alert(ALERTS, id:id(), "UPLOAD", 2,
        ("%s sent %d bytes to %s port %s"):format(id:ipa_readable(), out, id:ipz_readable(), id:portz_readable()))
    end,
  },
}
