//! Whether a callback may keep an object that it is lent: a layer, packet, buffer or header.
//!
//! What is lent is a struct that shows another packet before long. A callback that may keep it is given a value instead, which
//! goes stale (`api/lua/values.lua`); that costs more where the compiler cannot do without it, and where nothing is compiled.
//! Most callbacks only call methods of what they are lent, put in locals what these give out, and hand both to the engine or to
//! functions of the file that do no more either: they get the struct itself.
//!
//! The text is read word by word and not understood. A form that is not known here may keep.

use std::collections::{HashMap, HashSet};
use std::ops::{Range, RangeInclusive};

use mlua::Function;

use super::keeping::{Keeping, is_field, lines_of, only_function, parameters};
use super::levels::{Before, Levels, is_keyword};
use crate::lua::{PluginError, Tokens};
use crate::plugin::instance::Instance;

/// Methods that give out another such object; all others give out plain values.
const GIVERS: [&str; 4] = ["rawbytes", "packet", "get_layer", "find_layer"];
/// Functions looked at for one callback; beyond them nothing is known.
const MOST_FUNCTIONS: usize = 64;
/// Words of a function that is looked at.
const MOST_WORDS: usize = 20_000;
/// Methods of the engine: none keeps what it is handed. A script that puts a function of its own in the place of one has it called
/// with values (`api/lua/engine.lua`).
const ENGINE_METHODS: [&str; 30] = [
    "add_alert",
    "add_alert_full",
    "add_alert_ids",
    "add_alert_tca",
    "add_edge",
    "add_flow_attribute",
    "add_flow_counter",
    "add_flow_edges",
    "add_resource",
    "disable_reassembly",
    "id",
    "instanceid",
    "new_flow_record",
    "post_message_backend",
    "post_message_frontend",
    "probeid",
    "reset_flow_counter",
    "set_flow_duration",
    "set_key_attribute",
    "tag_flow",
    "terminate_flow",
    "timestamp",
    "update_counter",
    "update_counter_at",
    "update_counter_bytes",
    "update_counter_end",
    "update_counter_raw",
    "update_flow",
    "update_flow_raw",
    "update_key_info",
];

/// Looks at the only function that begins in the first of these lines of a script. `places` are those of what it is lent among
/// its parameters, `engine` that of the engine.
pub(super) fn keeping_lent(
    script: &Tokens,
    lines: &RangeInclusive<u32>,
    places: &[usize],
    engine: Option<usize>,
) -> Keeping {
    let harmless = || {
        let function = only_function(script, lines)?;
        if looks_into_calls(script) {
            return None;
        }
        let mut search = Search::of(script)?;
        // Where the compiler sees the end somewhere else, the text was not read as it does.
        let ends_there = script.line(search.partner_of(function)?) == *lines.end();
        (ends_there && places.iter().all(|&place| search.is_harmless(function, place, engine))).then_some(())
    };
    if harmless().is_some() { Keeping::Never } else { Keeping::Perhaps }
}

/// The same of a callback, wherever it was written. If it may keep something, the objects of its VM are made fit for that.
///
/// # Errors
/// When the VM is out of memory.
pub(super) fn lending(
    instance: &Instance,
    script: &Tokens,
    callback: &Function,
    places: &[usize],
    engine: Option<usize>,
) -> Result<Keeping, PluginError> {
    if places.is_empty() {
        return Ok(Keeping::Never);
    }
    let said = lines_of(instance, callback).map(|lines| keeping_lent(script, &lines, places, engine));
    if said == Some(Keeping::Never) {
        return Ok(Keeping::Never);
    }
    instance.lend_values()?;
    Ok(Keeping::Perhaps)
}

/// What becomes of an object where it is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Nothing that outlives the expression.
    Harmless,
    /// The local that is declared at this word holds it.
    Local(usize),
    /// Who knows.
    Unknown,
}

/// A function's body: its words, and those of the functions in it.
struct Body {
    words: Range<usize>,
    /// In their order; none is in another.
    nested: Vec<Range<usize>>,
}

impl Body {
    fn is_nested(&self, at: usize) -> bool {
        let next = self.nested.partition_point(|function| function.start <= at);
        self.nested[..next].last().is_some_and(|function| function.contains(&at))
    }
}

struct Search<'a> {
    script: &'a Tokens,
    levels: Levels<'a>,
    /// Where the local functions of the file are, by name.
    helpers: HashMap<&'a str, Option<usize>>,
    /// Functions that were or are being looked at: which, for which parameter, and where the engine is.
    seen: HashSet<(usize, usize, Option<usize>)>,
    /// One of them may keep what it gets.
    keeps: bool,
}

/// What the engine is called in a function.
struct Engine<'a> {
    name: &'a str,
    /// The calls that it is handed to, by their brackets, and its place there.
    places: HashMap<usize, usize>,
}

impl<'a> Search<'a> {
    /// `None` for a text that is not made of whole blocks and brackets.
    fn of(script: &'a Tokens) -> Option<Self> {
        let (levels, helpers, seen) = (Levels::of(script)?, HashMap::new(), HashSet::new());
        Some(Self { script, levels, helpers, seen, keeps: false })
    }

    fn partner_of(&self, at: usize) -> Option<usize> {
        self.levels.partner_of(at)
    }

    fn body(&self, function: usize, begin: usize) -> Option<Body> {
        let words = begin..self.partner_of(function)?;
        if words.len() > MOST_WORDS {
            return None;
        }
        let (mut nested, mut at) = (Vec::new(), words.start);
        while at < words.end {
            if self.script.name(at) == Some("function") {
                let end = self.partner_of(at)?;
                nested.push(at..end);
                at = end;
            }
            at += 1;
        }
        Some(Body { words, nested })
    }

    /// Whether a function, and all that it hands it to, leave the object alone that it gets in this place.
    fn is_harmless(&mut self, function: usize, place: usize, engine: Option<usize>) -> bool {
        // One that calls itself is harmless if nothing else in it is harmful.
        if self.seen.insert((function, place, engine)) && !self.leaves_alone(function, place, engine) {
            self.keeps = true;
        }
        !self.keeps
    }

    fn leaves_alone(&mut self, function: usize, place: usize, engine: Option<usize>) -> bool {
        let script = self.script;
        let Some((parameters, begin)) = parameters(script, function) else { return false };
        let Some(&lent) = parameters.get(place) else { return true };
        let Some(body) = self.body(function, begin) else { return false };
        if self.seen.len() > MOST_FUNCTIONS {
            return false;
        }
        let engine = engine.and_then(|place| parameters.get(place).copied());
        let engine = engine.and_then(|name| self.engine(&body, name));
        let (mut names, mut known) = (vec![lent], HashSet::from([lent]));
        let (mut declared, mut unknown) = (HashSet::new(), Vec::new());
        let mut next = 0;
        while let Some(&name) = names.get(next) {
            for at in self.levels.mentions(name, &body.words).to_vec() {
                match self.use_at(&body, at, engine.as_ref()) {
                    Use::Harmless => {}
                    Use::Unknown => unknown.push(at),
                    Use::Local(local) => {
                        let name = script.name(local).unwrap_or_default();
                        if declared.insert(local) && known.insert(name) {
                            names.push(name);
                        }
                    }
                }
            }
            next += 1;
        }
        // Where a local is declared it is not used.
        unknown.iter().all(|at| declared.contains(at))
    }

    /// The engine, if its name stands for it throughout, as it does if it is only called methods of and handed on.
    fn engine(&self, body: &Body, name: &'a str) -> Option<Engine<'a>> {
        let mut places = HashMap::new();
        for &at in self.levels.mentions(name, &body.words) {
            match self.is_argument(at, at + 1) {
                Some((bracket, place)) => _ = places.entry(bracket).or_insert(place),
                None if self.script.is(at + 1, ":") || self.is_looked_for(at) => {}
                None => return None,
            }
        }
        Some(Engine { name, places })
    }

    /// `engine.method then`, and what else can be no assignment.
    fn is_looked_for(&self, engine: usize) -> bool {
        self.script.is(engine + 1, ".") && self.script.name(engine + 3).is_some_and(is_keyword)
    }

    fn use_at(&mut self, body: &Body, at: usize, engine: Option<&Engine<'a>>) -> Use {
        let script = self.script;
        if body.is_nested(at) {
            // It may be called later.
            return Use::Unknown;
        }
        let end = match self.end_of_object(at) {
            Some(Ok(end)) => end,
            Some(Err(PlainValue)) => return Use::Harmless,
            None => return Use::Unknown,
        };
        let (before, behind) = (script.name(at - 1), script.name(end));
        let joins = |name: Option<&str>| matches!(name, Some("and" | "or"));
        let has_suffix = script.text(end).is_some() || [".", "[", "(", "{", ":"].iter().any(|it| script.is(end, it));
        if has_suffix {
            return Use::Unknown;
        }
        let begins = is_one_of(script, at - 1, &["(", ",", "=", "{", ";"])
            || matches!(before, Some("if" | "elseif" | "while" | "until" | "and" | "or" | "not" | "return"));
        if is_one_of(script, end, &["==", "~="]) {
            return if begins && script.name(end + 1) == Some("nil") { Use::Harmless } else { Use::Unknown };
        }
        if before == Some("not") {
            let is_operand = is_one_of(script, end, &["..", Tokens::OTHER]);
            return if is_operand { Use::Unknown } else { Use::Harmless };
        }
        // A keyword, a name or `;`: the next statement, or how this one goes on.
        let ends = behind.is_some() || script.is(end, ";");
        if let Some((bracket, place)) = self.is_argument(at, end) {
            return self.use_as_argument(bracket, place, engine);
        }
        let begins_condition = matches!(before, Some("if" | "elseif" | "while" | "until"));
        match self.levels.before(at) {
            Before::Condition if (begins_condition || joins(before)) && ends => Use::Harmless,
            Before::Assignment(sign, place)
                if (is_one_of(script, at - 1, &["=", ","]) || joins(before)) && (ends || script.is(end, ",")) =>
            {
                self.local(sign, place)
            }
            _ => Use::Unknown,
        }
    }

    /// The word behind an object that begins with a name: `x`, `x:packet()`, `x:packet():get_layer(1)`.
    fn end_of_object(&self, at: usize) -> Option<Result<usize, PlainValue>> {
        let script = self.script;
        let mut end = at + 1;
        while script.is(end, ":") {
            if !GIVERS.contains(&script.name(end + 1)?) {
                return Some(Err(PlainValue));
            }
            end += 2;
            end = if script.is(end, "(") {
                self.partner_of(end)? + 1
            } else if script.text(end).is_some() {
                end + 1
            } else {
                return None;
            };
        }
        Some(Ok(end))
    }

    /// The bracket and the place of an expression that is an argument, or the parameter of a function.
    fn is_argument(&self, at: usize, end: usize) -> Option<(usize, usize)> {
        let is_whole = is_one_of(self.script, at - 1, &["(", ","]) && is_one_of(self.script, end, &[")", ","]);
        match self.levels.before(at) {
            Before::Bracket(bracket, place) if is_whole && self.script.is(bracket, "(") => Some((bracket, place)),
            _ => None,
        }
    }

    /// What becomes of the argument in a place of a call: one of the engine's methods, or a function of the file.
    fn use_as_argument(&mut self, bracket: usize, place: usize, engine: Option<&Engine<'a>>) -> Use {
        let script = self.script;
        let Some(callee) = bracket.checked_sub(1).and_then(|at| script.name(at)) else { return Use::Unknown };
        if bracket >= 3 && script.is(bracket - 2, ":") {
            let is_engine = engine.is_some_and(|engine| script.name(bracket - 3) == Some(engine.name))
                && !is_field(script, bracket - 3);
            return if is_engine && ENGINE_METHODS.contains(&callee) { Use::Harmless } else { Use::Unknown };
        }
        if is_field(script, bracket - 1) {
            return Use::Unknown;
        }
        // A function is known from where it is declared on.
        let Some(function) = self.helper(callee).filter(|&function| function < bracket) else { return Use::Unknown };
        let its_engine = engine.and_then(|engine| engine.places.get(&bracket).copied());
        if self.is_harmless(function, place, its_engine) { Use::Harmless } else { Use::Unknown }
    }

    /// The function that a name stands for wherever it is called: a local one of the file that is in nothing else, and is
    /// only called.
    fn helper(&mut self, name: &'a str) -> Option<usize> {
        if let Some(&known) = self.helpers.get(name) {
            return known;
        }
        let script = self.script;
        let (mut found, mut is_only_called) = (None, true);
        for &at in self.levels.mentions(name, &(0..script.len())) {
            let is_defined = at > 0 && script.name(at - 1) == Some("function");
            if is_defined {
                is_only_called &= found.is_none() && at > 1 && script.name(at - 2) == Some("local");
                found = Some(at - 1);
            } else {
                is_only_called &= script.is(at + 1, "(");
            }
        }
        let found = found.filter(|function| is_only_called && self.levels.is_outermost(*function));
        self.helpers.insert(name, found);
        found
    }

    /// The local in a place of the declaration with this `=`.
    fn local(&self, sign: usize, place: usize) -> Use {
        let script = self.script;
        let (mut names, mut at) = (Vec::new(), sign);
        loop {
            at = at.saturating_sub(1);
            if script.name(at).is_none_or(is_keyword) {
                return Use::Unknown;
            }
            names.push(at);
            at = at.saturating_sub(1);
            if script.name(at) == Some("local") {
                break;
            }
            if !script.is(at, ",") {
                return Use::Unknown;
            }
        }
        names.iter().rev().nth(place).map_or(Use::Harmless, |&name| Use::Local(name))
    }
}

/// A method was called that gives out no object.
struct PlainValue;

fn is_one_of(script: &Tokens, at: usize, symbols: &[&str]) -> bool {
    symbols.iter().any(|symbol| script.is(at, symbol))
}

/// Whether a script may read the locals of other functions, or change what the engine finds its methods in.
fn looks_into_calls(script: &Tokens) -> bool {
    let is_named = |at, name: &str| script.name(at) == Some(name) || script.text(at) == Some(name.as_bytes());
    (0..script.len()).any(|at| {
        let is_traced = script.is(at + 1, ".") && script.name(at + 2) == Some("traceback");
        is_named(at, "debug") && !is_traced || is_named(at, "seeall")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use proptest::prelude::{any, proptest};

    use super::{ENGINE_METHODS, GIVERS, keeping_lent};
    use crate::lua::Tokens;
    use crate::plugin::frontend::keeping::Keeping;

    /// Of a callback that takes the engine and a layer, behind other text.
    fn behind(head: &str, body: &str) -> Keeping {
        let text = format!("{head}\nf = function(engine, layer)\n{body}\nend");
        let (first, last) = (head.lines().count().max(1) + 1, text.lines().count());
        keeping_lent(&Tokens::of(text.as_bytes()), &(first as u32..=last as u32), &[1], Some(0))
    }

    fn of(body: &str) -> Keeping {
        behind("", body)
    }

    #[test]
    fn what_is_only_called_methods_of_is_not_kept() {
        for body in [
            "",
            "engine:update_counter(G, 'k', 0, layer:total_bytes())",
            "local n = layer:layer_bytes() + x.layer",
            "return layer:packet():flowid():ipa()",
            "return layer:rawbytes():tostring(0, 4)",
            "local b = layer:rawbytes() return b:tostring(1, b:size())",
            "local b, n = layer:rawbytes(), layer:layer_bytes() print(b:hval_8(n))",
            "local n, b = f({ 1, 2 }, 3), layer:rawbytes() print(b:hval_8(n))",
            "local p = layer:packet() local ip = p:find_layer(IPV4) if ip then print(ip:getbyte(0)) end",
            "local p = layer:packet() local ip = p:find_layer(A) or p:find_layer(B) if not ip then return end print(ip:getbyte(1))",
            "local ip = layer:packet():find_layer '{0A2C724B-5B9F-4BA6-9C97-B05080558574}' if ip == nil then return end",
            "local l = layer:packet():get_layer(layer:packet():num_layers() - 1); print(l:layer_bytes())",
            "for i = 0, layer:packet():num_layers() - 1 do local l = layer:packet():get_layer(i) print(l:protocol_id()) end",
            "if x then local b = layer:rawbytes() print(b:size()) else local p = layer:packet() local b = p:rawbytes() print(b:size()) end",
            "if layer:packet():find_layer(A) and x then print(1) elseif x or layer then print(2) end",
            "while x and layer:packet():find_layer(A) do x = g() end",
            "repeat x = g() until x or layer:packet():find_layer(A) print(x)",
            "return layer ~= nil",
            "print(not layer, not layer:packet():find_layer(A))",
            "engine:update_counter_at(G, layer, 12, 4, 0, layer:total_bytes())",
            "engine:update_counter_at(G, layer:packet():rawbytes(), f(1, { 2 }), 4, 0, 1)",
            "local other = layer print(other:getbyte(1))",
            "local layer = layer print(layer:getbyte(1))",
            "if engine.update_counter_at then engine:update_counter_at(G, layer, 0, 4, 0, 1) end",
            "print(debug.traceback('x'), layer:getbyte(0))",
            "g(engine, 1) pcall(h, engine) engine:update_counter_at(G, layer, 0, 4, 0, 1)",
            "T.async:schedule { data = layer:flowkey(), onresult = function(engine, data) engine:terminate_flow(data) end }",
        ] {
            assert_eq!(of(body), Keeping::Never, "{body}");
        }
    }

    #[test]
    fn any_other_use_may_keep() {
        for body in [
            "kept = layer",
            "kept = layer:rawbytes()",
            "kept = x and layer:rawbytes() or kept",
            "kept[1] = layer",
            "kept[layer] = 1",
            "kept[#kept + 1] = layer:packet()",
            "kept = { layer = layer }",
            "kept = { layer }",
            "kept = { first = layer:packet() }",
            "local t = { x = layer }",
            "local a = 1 kept = layer",
            "local a = b kept, c = layer, 1",
            "local b b = layer:rawbytes()",
            "local b = layer:rawbytes() kept = b",
            "local b = layer:rawbytes() local c = b kept = c",
            "local n, b = 1, layer:rawbytes() kept = b",
            "local n, b = 1, layer:rawbytes() n = 2 print(b)",
            "local b = x and layer:rawbytes() return b",
            "return layer",
            "return x, layer:packet()",
            "return x or layer",
            "return layer:packet() or nil",
            "print(layer)",
            "f(x, layer:rawbytes())",
            "f { layer }",
            "f(g, { layer })",
            "x:update_counter(layer)",
            "x.engine:update_counter(layer)",
            "engine.update_counter(engine, layer)",
            "engine:update_counter({ layer })",
            "engine:update_counter(g(layer))",
            "engine:update_counter(x or layer)",
            "local engine = { f = g } engine:update_counter(layer)",
            "engine = g engine:update_counter(layer)",
            "x, engine, y = 1, g, 2 engine:update_counter(layer)",
            "engine.update_counter = g engine:update_counter(layer)",
            "engine.update_counter, x = g, 1 engine:update_counter(layer)",
            "x, engine.update_counter = 1, g engine:update_counter(layer)",
            "engine.f, x = layer, 1",
            "engine['f'] = g engine:update_counter(layer)",
            "engine:f(layer)",
            "rawset(t, 1, layer)",
            "rawset(engine, 'update_counter', layer)",
            "g() engine:update_counter(layer) local l = debug.getlocal(1, 2)",
            "engine:update_counter(layer) local d = _G['debug']",
            "package.seeall(engine) engine:update_counter(layer)",
            "(function() engine = g end)() engine:update_counter(layer)",
            "local f = layer.getbyte",
            "layer.getbyte(layer, 1)",
            "local x = layer:rawbytes().size",
            "local x = layer:rawbytes()[1]",
            "local x = layer:rawbytes() (kept)",
            "local x = layer:packet() .. other",
            "local x = other + layer",
            "local x = other == layer",
            "local x = layer == other",
            "if other == layer then f() end",
            "if x .. layer == nil then f() end",
            "if not layer ^ other then f() end",
            "layer = layer or f()",
            "for i = 1, 2 do layer = f() end",
            "for _, l in f, layer do print(l) end",
            "local function f() return layer:layer_bytes() end kept = f",
            "local b = layer:rawbytes() local function f() return b:size() end kept = f",
            "local ok = pcall(function() print(layer:layer_bytes()) end)",
            "(layer):getbyte(1)",
            "goto layer ::layer::",
            "local s = \"a\\z\n b\" kept = layer --\"",
            "-- a comment\rkept = layer",
            "local a = ... kept = layer",
        ] {
            assert_eq!(of(body), Keeping::Perhaps, "{body}");
        }
    }

    #[test]
    fn functions_of_the_file_are_looked_into() {
        let helper =
            "local function size(n, bytes) if n > 0 then return size(n - 1, bytes) end return bytes:size() end";
        assert_eq!(
            behind(helper, "local b = layer:rawbytes() print(size(1, b), size(2, layer:rawbytes()))"),
            Keeping::Never
        );
        assert_eq!(behind(helper, "print(size(layer, 1))"), Keeping::Perhaps, "it compares");
        assert_eq!(behind(helper, "print(size(1, 2, layer))"), Keeping::Never, "it has no third parameter");
        let count = "local function count(layer, engine) engine:update_counter_at(G, layer, 0, 4, 0, 1) end";
        assert_eq!(behind(count, "count(layer, engine)"), Keeping::Never);
        assert_eq!(behind(count, "count(layer, x)"), Keeping::Perhaps);
        for head in [
            "local function f(l) kept = l end",
            "local function f(l) return l end",
            "local function f(...) print(...) end",
            "function f(l) print(l:getbyte(0)) end",
            "local function f(l) print(l:getbyte(0)) end f = g",
            "local function f(l) print(l:getbyte(0)) end local function f(l) print(l:getbyte(0)) end",
            "do local function f(l) print(l:getbyte(0)) end end",
            "local function f(l) print(l:getbyte(0)) end local function g(f) f(1) end",
            "local function f(l) g(l) end local function g(l) print(l:getbyte(0)) end",
            "local function f(l) kept = l local b = l:rawbytes() print(b:size()) end",
            "local function g(l) kept = l end local function f(l) local b = l:rawbytes() g(l) print(b:size()) end",
        ] {
            assert_eq!(behind(head, "f(layer)"), Keeping::Perhaps, "{head}");
        }
    }

    #[test]
    fn what_cannot_be_read_for_sure_may_keep() {
        for text in [
            "f = function(...)\nend",
            "f = function(engine, ...)\nend",
            "f, g = function(engine, layer) end, function() end",
            "f = loaded",
            "f = function(engine, layer)\nif x then",
            "f = function(engine, layer)\n) end",
            "f = function(engine, layer) end\nx = 1",
            "",
        ] {
            let lines = 1..=text.lines().count() as u32;
            assert_eq!(keeping_lent(&Tokens::of(text.as_bytes()), &lines, &[1], Some(0)), Keeping::Perhaps, "{text}");
        }
        let method = Tokens::of(b"function t:f(layer)\nkept = layer end");
        assert_eq!(keeping_lent(&method, &(1..=2), &[1], Some(0)), Keeping::Perhaps, "the engine is self");
    }

    /// The callbacks of a file with what they are lent, as they are named there, and what is said of each.
    fn said_of(path: &Path) -> Vec<(String, Keeping)> {
        let text = fs::read_to_string(path).unwrap();
        let tokens = Tokens::of(text.as_bytes());
        let lent: [(&str, &[usize], Option<usize>); 7] = [
            ("onpacket", &[1], Some(0)),
            ("parselayer", &[0], None),
            ("onpayload", &[5], Some(0)),
            ("onpayload_raw", &[5], Some(0)),
            ("onpayload_http", &[4, 5, 8], Some(0)),
            ("onfile_http", &[4, 5], Some(0)),
            ("filter_payload", &[5], Some(0)),
        ];
        let search = super::Search::of(&tokens).unwrap();
        let functions =
            (0..tokens.len()).filter(|&at| tokens.name(at) == Some("function") && tokens.is(at.max(1) - 1, "="));
        functions
            .filter_map(|at| {
                let (name, places, engine) = *lent.iter().find(|(name, ..)| tokens.name(at - 2) == Some(name))?;
                let lines = tokens.line(at)..=tokens.line(search.partner_of(at)?);
                Some((name.to_owned(), keeping_lent(&tokens, &lines, places, engine)))
            })
            .collect()
    }

    fn scripts(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == "lua")).collect();
        paths.sort();
        paths
    }

    #[test]
    fn callbacks_of_the_plugins_and_of_the_measurements_keep_nothing() {
        // One puts a buffer in a local of before, one reads a buffer from a function of its own.
        let keeping = ["payload-fingerprints.lua", "tcp-resets.lua"];
        let mut count = 0;
        for folder in ["plugins", "tests/bench/lua", "tests/bench/lua/twenty", "tests/bench/lua/reassembly"] {
            for path in scripts(folder) {
                let file = path.file_name().unwrap().to_string_lossy().into_owned();
                let expected = if keeping.contains(&&*file) { Keeping::Perhaps } else { Keeping::Never };
                for (callback, said) in said_of(&path) {
                    count += 1;
                    assert_eq!(said, expected, "{folder}/{file}: {callback}");
                }
            }
        }
        assert!(count >= 35, "{count} callbacks");
    }

    #[test]
    fn methods_that_give_out_objects_are_those_that_make_values() {
        let text = include_str!("../../api/lua/values.lua");
        let mut made: Vec<&str> = Vec::new();
        for method in text.split("function Value:").skip(1) {
            let (name, body) = method.split_once('(').unwrap();
            let body = body.split("\n  function ").next().unwrap().split("\n  define").next().unwrap();
            if body.contains("lend_") {
                made.push(name);
            }
        }
        made.sort_unstable();
        made.dedup();
        let mut givers = GIVERS.to_vec();
        givers.sort_unstable();
        assert_eq!(made, givers);
    }

    #[test]
    fn methods_that_may_be_handed_objects_are_those_of_the_engine() {
        let text = include_str!("../../api/lua/engine.lua");
        let names =
            text.lines().filter_map(|line| line.strip_prefix("function ").unwrap_or(line).strip_prefix("Engine."));
        let mut names: Vec<&str> = names.map(|line| line.split([' ', '(']).next().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ENGINE_METHODS);
    }

    #[test]
    fn the_mark_of_the_encoding_and_a_line_for_the_shell_are_no_words() {
        for head in ["\u{feff}", "#!/usr/bin/lua\n", "\u{feff}#!/usr/bin/lua\n", "#\n", "\u{feff}local a = 1\n"] {
            let text = format!("{head}f = function(engine, layer)\nprint(layer:getbyte(0)) end");
            let first = head.lines().count().max(1) as u32 + u32::from(head.contains('\n'));
            let lines = first..=first + 1;
            assert_eq!(keeping_lent(&Tokens::of(text.as_bytes()), &lines, &[1], Some(0)), Keeping::Never, "{head:?}");
        }
    }

    #[test]
    fn a_callback_is_looked_at_in_a_time_that_grows_as_it_does() {
        // Each word is asked for in one call, or few; an answer that took the square of that would take minutes.
        let body = "local b = layer:rawbytes() print(b:size(), not layer)\n".repeat(900);
        let arguments = format!("engine:update_counter({}layer)", "layer, ".repeat(4000));
        for body in [body, arguments] {
            let text = format!("f = function(engine, layer)\n{body} end");
            let tokens = Tokens::of(text.as_bytes());
            let lines = 1..=text.lines().count() as u32;
            assert_eq!(keeping_lent(&tokens, &lines, &[1], Some(0)), Keeping::Never);
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300), place in 0_usize..5) {
            let mut text = b"f = function(engine, layer)\nlayer:packet(layer, (".to_vec();
            text.extend(bytes);
            let _ = keeping_lent(&Tokens::of(&text), &(1..=9), &[place], Some(0));
        }

        #[test]
        fn any_words_have_an_answer(
            words in proptest::collection::vec(0_usize..24, 0..60),
        ) {
            const WORDS: [&str; 24] = [
                "layer", "engine", "local", "=", ",", "(", ")", ":", "packet", ".", "and", "or", "not", "nil", "if", "then", "end",
                "function", "x", "==", "return", "{", "}", "'s'",
            ];
            let words: Vec<&str> = words.iter().map(|&word| WORDS[word]).collect();
            let text = format!("f = function(engine, layer)\n{}\nend", words.join(" "));
            let _ = keeping_lent(&Tokens::of(text.as_bytes()), &(1..=3), &[0, 1], Some(0));
        }
    }
}
