-- GUIDs without braces, of nobody, of the wrong kind.
local NOBODY = "{AB56F66C-0A07-40B6-9C3D-0D6E3AFF0001}"
local MESSAGE = "{AB56F66C-0A07-40B6-9C3D-0D6E3AFF0002}"
local UNUSED = "{AB56F66C-0A07-40B6-9C3D-0D6E3AFF0003}"
local ALERTS = "{AB56F66C-0A07-40B6-9C3D-0D6E3AFF0004}"

TrisulPlugin = {
  id = { name = "guids" },
  message_subscriptions = { "hello" },

  alertgroup = { control = { guid = ALERTS, name = "Alerts of guids" } },

  countergroup = {
    control = {
      guid = "0B1C2D3E-0000-4000-8000-00000000ABCE",
      name = "Without braces",
    },
  },

  simplecounter = {
    protocol_guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B32}",

    onpacket = function(engine, layer)
      engine:update_counter(NOBODY, "key", 0, 1)
      engine:update_counter(ALERTS, "key", 0, 1)
      engine:add_resource("{AB56F66C-0A07-40B6-9C3D-0D6E3AFF0005}", nil, "uri")
      engine:post_message_frontend(MESSAGE, "text")
      if layer == UNUSED then return end
    end,
  },
}
