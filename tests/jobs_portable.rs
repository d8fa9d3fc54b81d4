//! Functions that leave one VM and arrive in another.
#![expect(unsafe_code, reason = "a VM with all libraries, as plugins have it")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use millstream::lua::{Loader, PackError, Packed, Packer, PluginError};
use mlua::{Function, Lua, MultiValue, Table, Value};

struct Pair {
    here: Lua,
    there: Lua,
    packer: Packer,
    loader: Loader,
}

fn call(function: &Function, args: MultiValue) -> Result<(), PluginError> {
    function.call(args).map_err(|error| PluginError::caught(error.to_string().as_bytes(), b""))
}

fn vm() -> Lua {
    // SAFETY: the test's own text runs in it, no bytecode or C module from outside.
    let lua = unsafe { Lua::unsafe_new() };
    let id = format!("{:p}", &raw const lua);
    lua.load("T = { util = { where = function() return 1 end }, K = { level = 7 } } T.util.id = ...")
        .call::<()>(id)
        .unwrap();
    lua.load("T.util.me = function() return T.util.id end").exec().unwrap();
    lua
}

impl Pair {
    fn new() -> Self {
        let (here, there) = (vm(), vm());
        let (packer, loader) = (Packer::new(&here).unwrap(), Loader::new(&there).unwrap());
        Self { here, there, packer, loader }
    }

    fn function(&self, text: &str) -> Function {
        self.here.load(text).set_name("@plugin.lua").eval().unwrap()
    }

    fn pack(&mut self, function: &Function) -> Packed {
        self.packer.pack(&self.here, function).unwrap()
    }

    fn load(&mut self, packed: &Packed) -> Function {
        self.loader.load(&self.there, &packed.portable, call).unwrap()
    }

    /// What the function returns in the other VM, as text.
    fn run(&mut self, text: &str) -> String {
        let function = self.function(text);
        self.run_function(&function)
    }

    fn run_function(&mut self, function: &Function) -> String {
        let packed = self.pack(function);
        assert_eq!(packed.warnings, []);
        let arrived = self.load(&packed);
        arrived.call::<mlua::LuaString>("data").unwrap().to_string_lossy()
    }
}

#[test]
fn every_kind_of_plain_value_arrives_unchanged() {
    let mut pair = Pair::new();
    let text = r#"
        local none, yes, no, number, big, text, binary = nil, true, false, -0.5, 2^53, "text", "a\0\255"
        local signed, unsigned, least = -1234567890123456789LL, 18446744073709551615ULL, -9223372036854775807LL - 1
        return function(d)
            assert(none == nil and yes == true and no == false and number == -0.5 and big == 2^53)
            assert(text == "text" and binary == "a\0\255" and #binary == 3)
            assert(tostring(signed) == "-1234567890123456789LL" and tostring(unsigned) == "18446744073709551615ULL")
            assert(tostring(least) == "-9223372036854775808LL")
            return d
        end"#;
    assert_eq!(pair.run(text), "data");
}

#[test]
fn a_captured_local_is_the_value_it_has_when_sent() {
    let mut pair = Pair::new();
    let make = pair.function("local n = 0 return function() n = n + 1 local path = '/x/' .. n return function(d) return d .. path .. n end end");
    for n in 1..=300 {
        let function: Function = make.call(()).unwrap();
        assert_eq!(pair.run_function(&function), format!("data/x/{n}{n}"));
    }
}

#[test]
fn tables_keep_nesting_cycles_and_sharing() {
    let mut pair = Pair::new();
    let text = r#"
        local leaf = { 1, 2, 3, name = "leaf" }
        local tree = { left = leaf, right = leaf, list = { leaf, { leaf } }, [true] = 1, [0.5] = "half", [leaf] = "key" }
        tree.self, leaf.up = tree, tree
        local again = leaf
        return function(d)
            assert(tree.left == tree.right and tree.self == tree and leaf.up == tree and again == leaf)
            assert(tree.list[1] == leaf and tree.list[2][1] == leaf and #leaf == 3 and leaf.name == "leaf")
            assert(tree[true] == 1 and tree[0.5] == "half" and tree[leaf] == "key")
            local n = 0
            for _ in pairs(tree) do n = n + 1 end
            assert(n == 7, n)
            return d
        end"#;
    assert_eq!(pair.run(text), "data");
}

#[test]
fn captured_functions_recurse_and_share_variables() {
    let mut pair = Pair::new();
    let text = r#"
        local count = 10
        local function up() count = count + 1 return count end
        local function down() count = count - 1 return count end
        local even, odd
        function even(n) if n == 0 then return true end return odd(n - 1) end
        function odd(n) if n == 0 then return false end return even(n - 1) end
        local function factorial(n) return n <= 1 and 1 or n * factorial(n - 1) end
        local tools = { up = up, deep = { down = down } }
        return function(d)
            assert(up() == 11 and up() == 12 and down() == 11 and count == 11)
            count = 20
            assert(tools.up() == 21 and tools.deep.down() == 20 and tools.up == up)
            assert(even(10) and not even(7) and factorial(5) == 120)
            return d
        end"#;
    for _ in 0..100 {
        assert_eq!(pair.run(text), "data");
    }
}

#[test]
fn a_function_that_refers_to_itself_refers_to_the_copy() {
    let mut pair = Pair::new();
    let text = "local f f = function(d, n) if n == 3 then return d end return f(d, (n or 0) + 1) end return f";
    assert_eq!(pair.run(text), "data");
    let packed = pair.function("local f f = function() return f end return f");
    let packed = pair.pack(&packed);
    let arrived = pair.load(&packed);
    assert_eq!(arrived.call::<Function>(()).unwrap(), arrived);
}

#[test]
fn two_functions_of_one_prototype_stay_apart() {
    let mut pair = Pair::new();
    let text = r#"
        local function counter(n) return function() n = n + 1 return n end end
        local a, b = counter(0), counter(100)
        return function(d)
            for i = 1, 200 do assert(a() == i) assert(b() == 100 + i) end
            return d
        end"#;
    for _ in 0..5 {
        assert_eq!(pair.run(text), "data");
    }
}

#[test]
fn whether_variables_are_shared_may_change_from_run_to_run() {
    let mut pair = Pair::new();
    // `inc` and `get` of one or of two cells: the same prototypes, now sharing a variable and now not. Compiled code must
    // not assume either.
    let make = pair.function(
        r#"
        local function cell() local v = 0 return function() v = v + 1 return v end, function() return v end end
        return function(shared)
            local inc, get = cell()
            if not shared then local _ _, get = cell() end
            return function(d)
                local sum = 0
                for i = 1, 100 do inc() sum = sum + get() end
                return sum
            end
        end"#,
    );
    for n in 0..60 {
        let shared = n % 7 < 4;
        let function: Function = make.call(shared).unwrap();
        let packed = pair.pack(&function);
        let sum: i64 = pair.load(&packed).call("").unwrap();
        assert_eq!(sum, if shared { 5050 } else { 0 }, "run {n}");
    }
}

#[test]
fn changes_made_by_a_run_are_seen_nowhere_else() {
    let mut pair = Pair::new();
    let function = pair.function(
        "local n, list = 0, { 0 } return function() n = n + 1 list[1] = list[1] + 1 list.x = 1
         kept = kept or function() return n end return n .. list[1] .. kept() end",
    );
    for _ in 0..200 {
        // The function that the first run kept still sees the first run's variable, which was 1 at its end.
        assert_eq!(pair.run_function(&function), "111");
    }
    let (_, n) = (0, function.call::<String>(()).unwrap());
    assert_eq!(n, "111", "the original is untouched");
}

#[test]
fn compiled_code_sees_a_variable_that_is_set_later() {
    // The compiler takes a variable that is never assigned for a constant: `limit` here. Set from outside it must count all
    // the same, which it does not if the mark for immutable variables stays in the bytecode.
    let mut pair = Pair::new();
    let function =
        pair.function("local limit = 1 return function() local n = 0 for i = 1, 200 do n = n + limit end return n end");
    let packed = pair.pack(&function);
    let arrived = pair.load(&packed);
    for _ in 0..100 {
        assert_eq!(arrived.call::<i64>(()).unwrap(), 200);
    }
    let setupvalue: Function = pair.there.load("return debug.setupvalue").eval().unwrap();
    setupvalue.call::<()>((&arrived, 1, 5)).unwrap();
    assert_eq!(arrived.call::<i64>(()).unwrap(), 1000);
}

#[test]
fn machine_code_survives_from_run_to_run() {
    let mut pair = Pair::new();
    let traces: Table = pair
        .there
        .load("local t = { n = 0 } jit.attach(function(what) if what == 'stop' then t.n = t.n + 1 end end, 'trace') return t")
        .eval()
        .unwrap();
    let make = pair.function(
        "local n = 0 return function() n = n + 1 local step = n
         local function add(a) return a + step end
         return function() local s = 0 for i = 1, 500 do s = add(s) end return s end end",
    );
    let mut after_warm_up = 0;
    for n in 1..=600_i64 {
        let function: Function = make.call(()).unwrap();
        let packed = pair.pack(&function);
        assert_eq!(pair.load(&packed).call::<i64>(()).unwrap(), 500 * n);
        if n == 200 {
            after_warm_up = traces.get::<i64>("n").unwrap();
        }
    }
    assert!(after_warm_up > 0, "the loop was compiled");
    assert_eq!(traces.get::<i64>("n").unwrap(), after_warm_up, "and never again");
}

#[test]
fn the_same_function_is_dumped_once() {
    let mut pair = Pair::new();
    let make = pair.function("return function(n) return function() return n end end");
    let mut code = None;
    for n in 0..10 {
        let packed = pair.pack(&make.call(n).unwrap());
        let first = code.get_or_insert_with(|| packed.portable.code().clone());
        assert_eq!(packed.portable.code().id(), first.id());
        assert_eq!(&**packed.portable.code().location(), "plugin.lua:1");
    }
}

#[test]
fn libraries_and_t_are_those_of_the_other_vm() {
    let mut pair = Pair::new();
    pair.there.globals().set("only_there", 1).unwrap();
    let text = r#"
        local t, me, util, K, g, fmt, str, pr = T, T.util.me, T.util, T.K, _G, string.format, string, print
        return function(d)
            assert(t == T and util == T.util and K.level == 7 and g == _G and g.only_there == 1)
            assert(fmt == string.format and str == string and pr == print)
            return me()
        end"#;
    let there: String = pair.there.load("return T.util.id").eval().unwrap();
    assert_eq!(pair.run(text), there);
}

#[test]
fn required_modules_are_required_on_the_other_side() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("greeting.lua"),
        "local state = {} return { state = state, greet = function(x) state.last = x return 'hello ' .. x end }",
    )
    .unwrap();
    let mut pair = Pair::new();
    let path = format!("package.path = '{}/?.lua;' .. package.path", dir.path().display());
    pair.here.load(&path).exec().unwrap();
    pair.there.load(&path).exec().unwrap();
    let text = r#"
        local greeting = require("greeting")
        local greet, state = greeting.greet, greeting.state
        return function(d)
            assert(greeting == require("greeting") and greet == greeting.greet and greeting.state == state)
            local r = greet(d)
            assert(state.last == d)
            return r
        end"#;
    assert_eq!(pair.run(text), "hello data");
    // A table that merely sits in package.loaded and that no other VM could load travels as a table.
    assert_eq!(
        pair.run(
            "package.loaded.mine = { v = 'x' } local m = package.loaded.mine return function(d) return d .. m.v end"
        ),
        "datax"
    );
}

#[test]
fn a_module_that_is_missing_there_is_an_error_there() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("onlyhere.lua"), "return {}").unwrap();
    let mut pair = Pair::new();
    pair.here.load(format!("package.path = '{}/?.lua'", dir.path().display())).exec().unwrap();
    let function = pair.function("local m = require('onlyhere') return function() return m end");
    let packed = pair.pack(&function);

    let error = pair.loader.load(&pair.there, &packed.portable, call).unwrap_err();
    assert!(error.to_string().contains("module 'onlyhere' not found"), "{error}");
}

#[test]
fn what_cannot_be_sent_becomes_nil_and_is_reported_once() {
    let mut pair = Pair::new();
    let text = r#"
        local cfg = { db = io.stdout, list = { 1, { h = newproxy() } }, ["odd key"] = coroutine.create(print), ok = 1 }
        local file, co, cd = io.stdout, coroutine.create(print), require("ffi").new("int[1]")
        return function(d) return file == nil and co == nil and cd == nil and cfg.db == nil and cfg.list[2].h == nil
            and cfg["odd key"] == nil and cfg.ok == 1 and d end"#;
    let function = pair.function(text);
    let packed = pair.pack(&function);
    let mut messages: Vec<String> = packed.warnings.iter().map(ToString::to_string).collect();
    messages.sort();
    assert_eq!(messages.len(), 4, "{messages:?}");
    assert!(messages[0].starts_with("upvalue 'cd' is a cdata, which cannot be sent to a worker"));
    assert!(messages[1].starts_with("upvalue 'cfg'"), "{messages:?}");
    assert_eq!(messages[2], "upvalue 'co' is a coroutine, which cannot be sent to a worker");
    assert_eq!(messages[3], "upvalue 'file' is a userdata, which cannot be sent to a worker");
    assert_eq!(pair.load(&packed).call::<String>("d").unwrap(), "d");
    assert_eq!(pair.pack(&function).warnings, []);
}

#[test]
fn the_report_names_the_way_to_the_value() {
    for (text, expected) in [
        ("local cfg = { db = io.stdout } return function() return cfg end", "upvalue 'cfg'.db is a userdata"),
        (
            "local l = { 1, { ['a b'] = io.stdout } } return function() return l end",
            "upvalue 'l'[2][\"a b\"] is a userdata",
        ),
        (
            "local h = io.stdout local function inner() return h end return function() return inner end",
            "upvalue 'inner' > upvalue 'h' is a userdata",
        ),
        ("local m = setmetatable({}, {}) return function() return m end", "upvalue 'm' has a metatable"),
        (
            "local w = coroutine.wrap(print) return function() return w end",
            "upvalue 'w' is a function that is not written in Lua",
        ),
        ("local k = { [io.stdout] = 1 } return function() return k end", "upvalue 'k'[userdata] is a userdata"),
    ] {
        let mut pair = Pair::new();
        let function = pair.function(text);
        let packed = pair.pack(&function);
        let messages: Vec<String> = packed.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(messages, [format!("{expected}, which cannot be sent to a worker")]);
        let value: Value = pair.load(&packed).call(()).unwrap();
        if text.contains("setmetatable") {
            assert!(value.as_table().is_some_and(|table| table.metatable().is_none()));
        }
    }
}

#[test]
fn depth_and_size_have_limits() {
    let mut pair = Pair::new();
    let deep = pair.function("local t = {} for i = 1, 5000 do t = { t } end return function() return t end");
    assert!(matches!(pair.packer.pack(&pair.here, &deep), Err(PackError::TooDeep { upvalue }) if &*upvalue == "t"));
    let large =
        pair.function("local t = {} for i = 1, 20 do t[i] = ('x'):rep(1000000) end return function() return t end");
    assert_eq!(pair.packer.pack(&pair.here, &large).unwrap_err(), PackError::TooLarge);
    let many = pair.function("local t = {} for i = 1, 2000000 do t[i] = i end return function() return t end");
    assert_eq!(pair.packer.pack(&pair.here, &many).unwrap_err(), PackError::TooLarge);
    assert_eq!(pair.run("return function(d) return d end"), "data", "the packer works on");
}

#[test]
fn library_functions_can_be_sent_and_unknown_ones_are_refused() {
    let mut pair = Pair::new();
    assert_eq!(pair.run("return string.upper"), "DATA");
    let foreign = pair.here.create_function(|_, ()| Ok(())).unwrap();
    assert_eq!(pair.packer.pack(&pair.here, &foreign).unwrap_err(), PackError::NotLua);
}

#[test]
fn errors_there_have_the_line_of_the_plugin() {
    let mut pair = Pair::new();
    let function = pair.function("\n\nreturn function(d)\n error('broken ' .. d)\nend");
    let packed = pair.pack(&function);
    let error = pair.load(&packed).call::<()>("x").unwrap_err().to_string();
    assert!(error.contains("plugin.lua:4: broken x"), "{error}");
}

#[test]
fn endless_new_prototypes_do_not_pile_up() {
    let mut pair = Pair::new();
    for n in 0..5000 {
        let function = pair.function(&format!("return function(d) return d .. {n} end"));
        if n % 97 == 0 {
            assert_eq!(pair.run_function(&function), format!("data{n}"));
        } else {
            let packed = pair.pack(&function);
            drop(pair.load(&packed));
        }
    }
    pair.here.gc_collect().unwrap();
    pair.there.gc_collect().unwrap();
    assert!(pair.here.used_memory() < 8 << 20 && pair.there.used_memory() < 16 << 20);
}

#[test]
fn prototypes_that_were_collected_are_not_mistaken_for_others() {
    let mut pair = Pair::new();
    for n in 0..300 {
        let function = pair.function(&format!("local a = {n} return function(d) return d .. a .. '{n}' end"));
        assert_eq!(pair.run_function(&function), format!("data{n}{n}"));
        drop(function);
        pair.here.gc_collect().unwrap();
    }
}

#[test]
fn varargs_many_upvalues_and_deep_children_travel() {
    let mut pair = Pair::new();
    let names: Vec<String> = (1..=60).map(|n| format!("u{n}")).collect();
    let text = format!(
        "local {} = {} return function(...) local a = select('#', ...) local function in1() return function() return {} end end return in1()() + a end",
        names.join(","),
        (1..=60).map(|n| n.to_string()).collect::<Vec<_>>().join(","),
        names.join("+"),
    );
    let function = pair.function(&text);
    let packed = pair.pack(&function);
    assert_eq!(packed.portable.code().upvalues(), 60);
    assert_eq!(pair.load(&packed).call::<i64>(("a", "b")).unwrap(), 60 * 61 / 2 + 2);
}

#[test]
fn a_function_is_recalled_as_long_as_what_it_captures_is_the_same() {
    use std::cell::RefCell;
    use std::rc::Rc;

    let here = vm();
    let packer = Rc::new(RefCell::new(Packer::new(&here).unwrap()));
    let recall = Packer::recall(&here, &packer).unwrap();
    let known = |function: &Function| recall.call::<Option<f64>>(function).unwrap();
    let remember = |function: &Function| {
        let packed = packer.borrow_mut().pack(&here, function).unwrap();
        packer.borrow_mut().remember(&here, function, &packed.portable).unwrap()
    };
    let text = "local a, b, t, c = 1, 'x', {}, 0
        local function plain() end
        local function captures() return c end
        return function(d) return d end, function() return a, b, plain, string, T end, function() return t end,
            function() return captures() end, function(x, y) a, b = x, y end";
    let (plain, constant, table, nested, set): (Function, Function, Function, Function, Function) =
        here.load(text).set_name("@plugin.lua").eval().unwrap();
    assert_eq!([&plain, &constant, &table, &nested].map(known), [None; 4]);
    let number = remember(&plain).unwrap();
    assert_eq!(known(&plain), Some(number as f64));
    let first = remember(&constant).unwrap();
    assert_eq!(known(&constant), Some(first as f64));
    assert_eq!((remember(&table), remember(&nested)), (None, None), "these may change unseen");
    let change = |a: f64, b: &str| set.call::<()>((a, here.create_string(b).unwrap())).unwrap();
    change(1.0, "y");
    assert_eq!(known(&constant), None);
    change(1.0, "x");
    assert_eq!(known(&constant), Some(first as f64));
    change(0.0, "x");
    let second = remember(&constant).unwrap();
    assert!(second != first && known(&constant) == Some(second as f64));
    change(-0.0, "x");
    assert_eq!(known(&constant), None, "both zeros are equal and not the same");
    change(f64::NAN, "x");
    let third = remember(&constant).unwrap();
    assert_eq!(known(&constant), Some(third as f64), "what is not equal to itself is the same all the same");
    // What changes all the time is not kept any more.
    for n in 0..40 {
        change(f64::from(n), "x");
        known(&constant);
        remember(&constant);
    }
    assert_eq!(remember(&constant), None);
    assert_eq!(
        known(&here.globals().get::<Function>("print").unwrap()),
        None,
        "a function of a library has no prototype"
    );
}
