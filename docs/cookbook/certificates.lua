-- Question: Which servers show certificates that are over, or that only they vouch for?
-- Shows:    fts_monitor: the text of a certificate is taken apart with patterns
-- Run:      millstream run -r pcaps/incidents.pcap -p docs/cookbook/certificates.lua

local ALERTS = "{F673D89C-DD4C-46BD-B5A6-6E269B131591}"
local CERTIFICATES = "{9FEB8ADE-ADBB-49AD-BC68-C6A02F389C71}"
local MONTHS = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}

-- Days since 1970 of a date; the year is taken to begin in March, so that the odd month comes last.
local function days(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * month - 457) / 5) + day - 719469
end

-- "Mar  1 00:00:00 2020 GMT" in seconds since 1970.
local function seconds(text)
  local month, day, h, m, s, year = text:match("(%a+)%s+(%d+) (%d+):(%d+):(%d+) (%d+)")
  if not month then return nil end
  return days(tonumber(year), MONTHS[month], tonumber(day)) * 86400 + h * 3600 + m * 60 + s
end

TrisulPlugin = {
  id = { name = "certificates", description = "certificates that are over or vouch for themselves" },

  alertgroup = {
    control = { guid = ALERTS, name = "Certificates", description = "certificates that should not be trusted" },
  },

  fts_monitor = {
    fts_guid = CERTIFICATES,
    onnewfts = function(engine, document)
      -- The server's own certificate is the first.
      local leaf = document:text():match("^(.-)%-%-%-%-%-END CERTIFICATE") or document:text()
      local name = leaf:match("Subject: [^\n]*CN=([^\n]+)") or "?"
      local flow, now = document:flow():id(), document:timestamp()
      local last = leaf:match("Not After : ([^\n]+)")
      if last and (seconds(last) or now) < now then
        engine:add_alert(ALERTS, flow, "CERTEXPIRED", 2, name .. ": not valid after " .. last)
      end
      if leaf:match("Issuer: ([^\n]+)") == leaf:match("Subject: ([^\n]+)") then
        engine:add_alert(ALERTS, flow, "CERTSELF", 3, name .. ": vouches for itself")
      end
    end,
  },
}
