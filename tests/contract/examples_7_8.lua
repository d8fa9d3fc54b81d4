-- The expressions of the contract's tables of patterns and utilities.
local cases = require "cases"
local case, equal, results = cases.case, cases.equal, cases.results
local done = false

local function run()
  case("partial_match_n_gives_empty_text_for_a_group_that_took_no_part", function()
    results({ true, "", "b" }, T.re2("(a)|(b)"):partial_match_n("xb"))
  end)
  case("partial_match_n_without_match_is_false_alone", function()
    results({ false }, T.re2("(a)"):partial_match_n("x"))
  end)
  case("partial_match_c1_gives_the_first_group", function()
    results({ true, "b" }, T.re2("a(.)c(.)"):partial_match_c1("zabcd"))
  end)
  case("partial_match_c1_without_a_group_is_no_match", function()
    results({ n = 2, false, nil }, T.re2("a"):partial_match_c1("a"))
  end)
  case("an_invalid_pattern_never_matches", function()
    results({ false }, T.re2("("):partial_match("("))
  end)
  case("case_sensitive_false_ignores_case", function()
    results({ true }, T.re2("ABC", { case_sensitive = false }):full_match("abc"))
  end)
  case("ac_match_all_gives_the_last_byte_of_each_pattern", function()
    local found = T.ac({ "Host:", "User-Agent:" }):match_all("GET\r\nHost: a\r\n")
    equal(found["Host:"], 10)
    local n = 0
    for _ in pairs(found) do n = n + 1 end
    equal(n, 1)
  end)
  case("ac_match_one_without_match_is_an_empty_table", function()
    equal(next(T.ac({ "x" }):match_one("abc")), nil)
  end)
  case("bitval32_and_testbit32", function()
    results({ 10, true }, T.util.bitval32(0xAB, 7, 4), T.util.testbit32(4, 2))
  end)
  case("ntop_and_pton", function()
    results({ "192.168.1.2", 3232235778 }, T.util.ntop("3232235778"), T.util.pton("192.168.1.2"))
  end)
  case("split_keeps_empty_tokens", function()
    local t = T.util.split("a,,b,", ",")
    results({ 4, "a", "", "b", "" }, #t, t[1], t[2], t[3], t[4])
  end)
  case("splitm_gives_values", function()
    results({ "f", "p" }, T.util.splitm("f|p", "|"))
  end)
  case("bin2hex_and_hex2bin", function()
    results({ "00ff", "\0\255" }, T.util.bin2hex("\0\255"), T.util.hex2bin("00fF"))
  end)
  case("is_homenet_of_home_addresses", function()
    results({ true, true }, T.host:is_homenet("192.168.7.7"), T.host.is_homenet_key("C0.A8.07.07"))
  end)
  case("is_homenet_of_other_addresses", function()
    results({ false, false }, T.host:is_homenet("8.8.8.8"), T.host:is_homenet("nonsense"))
  end)
  case("get_config_of_an_unknown_path_is_empty", function()
    results({ "" }, T.env.get_config("No>Such>Path"))
  end)
  case("strings_answer_buffer_methods", function()
    results({ 25187, "b" }, ("abc"):hval_16(1), ("abc"):tostring(1, 1))
  end)
end

TrisulPlugin = {
  id = { name = "examples", description = "" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function()
      if not done then
        done = true
        run()
      end
    end,
  },
}
