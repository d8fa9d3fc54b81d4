-- Strings as buffers, re2 and ac.
local cases = require "cases"
local case, equal, results, fails = cases.case, cases.equal, cases.results, cases.fails

local function run()
  case("string_tostring_size_and_length", function()
    local s = "a\0bc"
    results({ "a\0bc", 4, 4 }, s:tostring(), s:size(), s:length())
    results({ "bc", "b", "", "" }, s:tostring(2), s:tostring(2, 1), s:tostring(4), s:tostring(-1))
    results({ "", 0, "" }, (""):tostring(), (""):size(), (""):hexdump())
  end)
  case("string_hval_8_16_24_32", function()
    local s = "\1\2\3\4"
    results({ 1, 0x0102, 0x010203, 0x01020304 }, s:hval_8(0), s:hval_16(0), s:hval_24(0), s:hval_32(0))
    results({ 0, 0x0400, 0x040000, 0x04000000 }, s:hval_8(4), s:hval_16(3), s:hval_24(3), s:hval_32(3))
    results({ 0, 0x01 }, s:hval_8(-1), s:hval_16(-1))
    results({ 1, 0x0102 }, s:hval_8(), s:hval_16(nil))
  end)
  case("string_hexdump", function()
    equal(("ace\n"):hexdump(), "00000000   61 63 65 0a                                        ace.\n")
    equal(("xace\n"):hexdump(1, 2), "00000000   61 63                                              ac\n")
  end)
  case("string_functions_of_lua_stay", function()
    results({ "bc", "ABC", 97, 3 }, ("abc"):sub(2), ("abc"):upper(), ("abc"):byte(), ("abc"):len())
    function string.twice(s) return s .. s end
    equal(("x"):twice(), "xx")
  end)
  case("re2_partial_match_and_full_match", function()
    local r = T.re2("b+")
    results({ true, false, true }, r:partial_match("abbc"), r:full_match("abbc"), r:full_match("bbb"))
    results({ false, false }, r:partial_match(nil), r:full_match(nil))
    equal(T.re2("^42$"):partial_match(42), true)
  end)
  case("re2_partial_match_n_with_many_groups", function()
    local pattern = string.rep("(.)", 21)
    local r = { T.re2(pattern):partial_match_n("abcdefghijklmnopqrstuvwxyz") }
    results({ 22, true, "a", "u" }, #r, r[1], r[2], r[22])
    results({ true }, T.re2("x"):partial_match_n("x"))
    results({ false }, T.re2("(x)"):partial_match_n(nil))
  end)
  case("re2_full_match_n", function()
    results({ true, "a", "b" }, T.re2("(a)(b)"):full_match_n("ab"))
    results({ false }, T.re2("(a)(b)"):full_match_n("abc"))
  end)
  case("re2_partial_match_c1_and_c2", function()
    results({ true, "a", "b" }, T.re2("(.)-(.)"):partial_match_c2("xa-bx"))
    results({ n = 3, false, nil, nil }, T.re2("(.)-(.)"):partial_match_c2("none"))
    results({ n = 3, false, nil, nil }, T.re2("(.)"):partial_match_c2("x"))
    results({ n = 2, false, nil }, T.re2("(.)-"):partial_match_c1("none"))
    results({ true, "" }, T.re2("a(b)?"):partial_match_c1("a"))
    fails("partial_match_c3", function() T.re2("x"):partial_match_c3("x") end)
  end)
  case("re2_an_escaped_underscore_is_one", function()
    results({ true, true, false }, T.re2("a\\_b"):full_match("a_b"), T.re2("[\\_]"):full_match("_"), T.re2("\\q"):partial_match("q"))
  end)
  case("re2_options", function()
    equal(T.re2("a.c", { literal = true }):partial_match("abc"), false)
    equal(T.re2("a.c", { literal = true }):partial_match("xa.cx"), true)
    results({ true, "ab" }, T.re2("(a|ab)", { longest_match = true }):partial_match_c1("ab"))
    results({ true, "a" }, T.re2("(a|ab)"):partial_match_c1("ab"))
    equal(T.re2("a[^b]c", { never_nl = true }):partial_match("a\nc"), false)
    results({ true }, T.re2("(a)", { never_capture = true }):partial_match_n("a"))
    equal(T.re2("(?i)ABC"):full_match("abc"), true)
    equal(T.re2("^.$", { utf8 = false }):full_match("\255"), true)
    equal(T.re2("^.$"):full_match("\195\169"), true)
    equal(T.re2("x", { nonsense = true, posix_syntax = true }):full_match("x"), true)
  end)
  case("ac_match_all_reports_first_occurrences", function()
    local found = T.ac({ "ab", "b", "zz", "" }):match_all("xabab")
    results({ n = 3, 3, 3, nil }, found.ab, found.b, found.zz)
    equal(next(T.ac({}):match_all("abc")), nil)
    equal(next(T.ac({ "a" }):match_all(nil)), nil)
    equal(T.ac({ "A" }):match_all("a").A, nil, "case-sensitive")
    equal(T.ac({ "\0\255" }):match_all("x\0\255")["\0\255"], 3, "any byte")
  end)
  case("ac_match_one_reports_what_ends_first", function()
    local found = T.ac({ "abcd", "bc", "c" }):match_one("abcd")
    results({ n = 3, 3, nil, nil }, found.bc, found.c, found.abcd)
    equal(next(T.ac({ "x" }):match_one(nil)), nil)
  end)
end

local done = false
TrisulPlugin = {
  id = { name = "strings", description = "" },
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
