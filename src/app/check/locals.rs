//! Which variables of functions an `onexecute` takes along although they cannot travel, as far as the words of the text tell.
//!
//! What lives when a file is loaded is looked at in a VM; the variables of a callback are not there yet. A variable is
//! known by what it is given: if all of it is plainly something that stays behind, so is the variable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::expressions::{Expressions, Given, Loss, Names, OBJECT, closing};
use super::inspect::{Left, LostVariable};
use crate::lua::Tokens;

/// Parameters that are objects of a callback, by their usual names.
const PARAMETERS: [&str; 5] = ["engine", "dbengine", "layer", "packet", "buffer"];

/// Every such variable, at the line where its function begins.
#[must_use]
pub fn lost_locals(tokens: &Tokens) -> Vec<LostVariable> {
    let mut reading = Reading::new(tokens);
    (0..tokens.len()).for_each(|at| reading.word(at));
    reading.lost()
}

struct Variable {
    name: String,
    /// The function it belongs to.
    owner: usize,
    /// What it is given, one by one.
    values: Vec<Given>,
    /// The function that it is.
    function: Option<usize>,
}

struct Function {
    line: u32,
    /// Variables of the functions around it that it uses, in the order of their use.
    taken: Vec<usize>,
}

/// What is not closed yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Function,
    Block,
    Table,
    Bracket,
}

struct Scope {
    open: Open,
    variables: BTreeMap<String, usize>,
}

struct Reading<'a> {
    tokens: &'a Tokens,
    variables: Vec<Variable>,
    functions: Vec<Function>,
    scopes: Vec<Scope>,
    /// The functions that are open, the file itself first.
    around: Vec<usize>,
    /// Variables of loops whose `do` is yet to come, with the number of scopes there.
    loops: Vec<(usize, Vec<String>)>,
    /// Functions given as `onexecute`, and variables.
    sent: Vec<usize>,
    sent_by_name: Vec<usize>,
    /// Up to where words have been read ahead.
    read: usize,
}

impl<'a> Reading<'a> {
    fn new(tokens: &'a Tokens) -> Self {
        Self {
            tokens,
            variables: Vec::new(),
            functions: vec![Function { line: 1, taken: Vec::new() }],
            scopes: vec![Scope { open: Open::Function, variables: BTreeMap::new() }],
            around: vec![0],
            loops: Vec::new(),
            sent: Vec::new(),
            sent_by_name: Vec::new(),
            read: 0,
        }
    }

    fn word(&mut self, at: usize) {
        if at < self.read {
            return;
        }
        let tokens = self.tokens;
        if is_onexecute(tokens, at) && tokens.is(at + 1, "=") {
            let value = tokens.name(at + 2).filter(|_| !continues(tokens, at + 3));
            self.sent_by_name.extend(value.and_then(|value| self.find(value)));
        }
        match tokens.name(at) {
            Some(name) if at == 0 || !tokens.is_access(at - 1) => self.name(at, name),
            Some(_) => {}
            None if tokens.is(at, "{") => self.open(Open::Table),
            None if tokens.is(at, "(") || tokens.is(at, "[") => self.open(Open::Bracket),
            None if ["}", ")", "]"].iter().any(|bracket| tokens.is(at, bracket)) => self.close(),
            None => {}
        }
    }

    fn name(&mut self, at: usize, name: &str) {
        match name {
            "function" => self.function(at, None),
            "local" if self.tokens.name(at + 1) == Some("function") => {
                let name = self.tokens.name(at + 2).unwrap_or_default();
                let variable = self.declare(name, Vec::new());
                self.function(at + 1, Some(variable));
            }
            "local" => self.local(at),
            "for" => self.begin_loop(at),
            "do" => {
                self.open(Open::Block);
                if let Some((_, names)) = self.loops.pop_if(|(depth, _)| *depth + 1 == self.scopes.len()) {
                    names.iter().for_each(|name| _ = self.declare(name, vec![Given::Unknown]));
                }
            }
            "then" | "repeat" => self.open(Open::Block),
            "end" | "until" | "elseif" => self.close(),
            "else" => {
                self.close();
                self.open(Open::Block);
            }
            _ => self.variable(at, name),
        }
    }

    fn open(&mut self, open: Open) {
        self.scopes.push(Scope { open, variables: BTreeMap::new() });
    }

    fn close(&mut self) {
        // The file itself stays open.
        if self.scopes.len() > 1 && self.scopes.pop().is_some_and(|scope| scope.open == Open::Function) {
            self.around.pop();
        }
    }

    fn owner(&self) -> usize {
        self.around.last().copied().unwrap_or_default()
    }

    fn declare(&mut self, name: &str, values: Vec<Given>) -> usize {
        let variable = Variable { name: name.to_owned(), owner: self.owner(), values, function: None };
        self.variables.push(variable);
        let number = self.variables.len() - 1;
        if let Some(scope) = self.scopes.last_mut() {
            scope.variables.insert(name.to_owned(), number);
        }
        number
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.scopes.iter().rev().find_map(|scope| scope.variables.get(name).copied())
    }

    /// `function` with its name, if it has one, and its parameters.
    fn function(&mut self, at: usize, variable: Option<usize>) {
        let tokens = self.tokens;
        let mut next = at + 1;
        let mut has_self = false;
        while next < tokens.len() && !tokens.is(next, "(") {
            has_self |= tokens.is(next, ":");
            next += 1;
        }
        if let Some(name) = tokens.name(at + 1).filter(|_| variable.is_none()) {
            let is_plain = next == at + 2;
            self.use_of(name)
                .filter(|_| is_plain)
                .into_iter()
                .for_each(|known| self.variables[known].values.push(Given::Unknown));
        }
        self.functions.push(Function { line: tokens.line(at), taken: Vec::new() });
        let number = self.functions.len() - 1;
        if let Some(variable) = variable {
            self.variables[variable].function = Some(number);
        }
        if at >= 2 && tokens.is(at - 1, "=") && is_onexecute(tokens, at - 2) {
            self.sent.push(number);
        }
        self.open(Open::Function);
        self.around.push(number);
        if has_self {
            self.declare("self", vec![Given::Unknown]);
        }
        next += 1;
        while next < tokens.len() && !tokens.is(next, ")") {
            if let Some(name) = tokens.name(next) {
                let is_object = PARAMETERS.contains(&name);
                let given = if is_object { Given::Lost(Loss::whole(OBJECT)) } else { Given::Unknown };
                self.declare(name, vec![given]);
            }
            next += 1;
        }
        self.read = next + 1;
    }

    /// `local a, b = x, y`. What stands right of the equal sign is read as words of its own as well.
    fn local(&mut self, at: usize) {
        let tokens = self.tokens;
        let mut names = Vec::new();
        let mut next = at + 1;
        while let Some(name) = tokens.name(next) {
            names.push(name);
            next += 1;
            if !tokens.is(next, ",") {
                break;
            }
            next += 1;
        }
        let has_values = tokens.is(next, "=");
        let (values, end) = if has_values { self.expressions().list(next + 1) } else { (Vec::new(), next) };
        // What stands right of the sign is meant as it was before.
        self.uses(next + 1..end);
        let function =
            (has_values && names.len() == 1 && tokens.name(next + 1) == Some("function")).then_some(next + 1);
        for (place, name) in names.iter().enumerate() {
            let given = values.get(place).cloned().unwrap_or(Given::Unknown);
            let variable = self.declare(name, if has_values { vec![given] } else { Vec::new() });
            if let Some(function) = function {
                self.variables[variable].values.clear();
                return self.function(function, Some(variable));
            }
        }
        self.read = next;
    }

    /// Variables that are used among words without functions.
    fn uses(&mut self, words: Range<usize>) {
        let tokens = self.tokens;
        if words.clone().any(|at| tokens.name(at) == Some("function")) {
            return;
        }
        let is_variable = |at: usize| !tokens.is_access(at - 1) && !tokens.is(at + 1, "=");
        words.filter(|&at| is_variable(at)).filter_map(|at| tokens.name(at)).for_each(|name| _ = self.use_of(name));
    }

    fn begin_loop(&mut self, at: usize) {
        let tokens = self.tokens;
        let is_over = |at: usize| tokens.is(at, "=") || tokens.name(at) == Some("in");
        let places = (at + 1..tokens.len()).take_while(|at| !is_over(*at));
        let names: Vec<String> = places.filter_map(|at| tokens.name(at)).map(str::to_owned).collect();
        self.read = at + 1 + 2 * names.len().max(1) - 1;
        self.loops.push((self.scopes.len(), names));
    }

    /// A name that is no keyword: a variable that is used or given something, or the key of a table.
    fn variable(&mut self, at: usize, name: &str) {
        let tokens = self.tokens;
        let is_in = |open| self.scopes.last().is_some_and(|scope| scope.open == open);
        let (in_table, in_bracket) = (is_in(Open::Table), is_in(Open::Bracket));
        let is_given = tokens.is(at + 1, "=");
        if in_table && is_given {
            return;
        }
        let Some(variable) = self.use_of(name) else { return };
        if in_table {
            return;
        }
        let is_one_of_several = if is_given { at > 0 && tokens.is(at - 1, ",") } else { is_target(tokens, at) };
        if is_one_of_several {
            // Which are not told apart.
            self.variables[variable].values.push(Given::Unknown);
        } else if is_given {
            let value = self.expressions().list(at + 2).0.swap_remove(0);
            // One that is emptied again may be empty by then.
            self.variables[variable].values.push(if value == Given::Nothing { Given::Unknown } else { value });
        } else if !in_bracket
            && is_field_set(tokens, at)
            && self.why(variable).is_some_and(|loss| !loss.path.is_empty())
        {
            self.variables[variable].values.push(Given::Unknown);
        }
    }

    /// The variable of a name; the functions between it and here take it along.
    fn use_of(&mut self, name: &str) -> Option<usize> {
        let variable = self.find(name)?;
        let owner = self.variables[variable].owner;
        for &function in self.around.iter().rev().take_while(|function| **function != owner) {
            let taken = &mut self.functions[function].taken;
            if !taken.contains(&variable) {
                taken.push(variable);
            }
        }
        Some(variable)
    }

    fn expressions(&self) -> Expressions<'_, Self> {
        Expressions::new(self.tokens, self)
    }

    /// What stays behind of a variable: of all that it is given, the same does.
    fn why(&self, variable: usize) -> Option<&Loss> {
        let mut values = self.variables[variable].values.iter().filter(|value| **value != Given::Nothing);
        let Some(Given::Lost(first)) = values.next() else { return None };
        values.all(|value| matches!(value, Given::Lost(loss) if loss == first)).then_some(first)
    }

    fn lost(&self) -> Vec<LostVariable> {
        let by_name = self.sent_by_name.iter().filter_map(|variable| self.variables[*variable].function);
        let sent: BTreeSet<usize> = self.sent.iter().copied().chain(by_name).collect();
        let mut lost = Vec::new();
        for function in sent {
            let line = self.functions[function].line;
            for &variable in &self.functions[function].taken {
                let path = format!("'{}'", self.variables[variable].name);
                let reason = self.obstacle(variable, path, &mut BTreeSet::from([function]));
                lost.extend(reason.map(|reason| LostVariable { line, reason, left: Left::Nil }));
            }
        }
        lost
    }

    /// Why a variable stays behind, or one that a function in it takes along.
    fn obstacle(&self, variable: usize, path: String, seen: &mut BTreeSet<usize>) -> Option<String> {
        if let Some(Loss { path: field, why }) = self.why(variable) {
            return Some(format!("{path}{field} is {why}"));
        }
        let function = self.variables[variable].function.filter(|function| seen.insert(*function))?;
        let mut taken = self.functions[function].taken.iter();
        taken.find_map(|&inner| self.obstacle(inner, format!("{path} -> {}", self.variables[inner].name), seen))
    }
}

impl Names for Reading<'_> {
    fn is_local(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn loss_of(&self, name: &str) -> Option<Loss> {
        self.find(name).and_then(|variable| self.why(variable)).cloned()
    }
}

/// Whether a place holds the field that is sent to a worker.
fn is_onexecute(tokens: &Tokens, at: usize) -> bool {
    tokens.name(at) == Some("onexecute")
}

/// Whether a value goes on behind what was read of it.
fn continues(tokens: &Tokens, at: usize) -> bool {
    matches!(tokens.name(at), Some("and" | "or"))
        || tokens.is_access(at)
        || ["(", "[", "{", "..", "==", "~=", "<=", ">=", Tokens::OTHER].iter().any(|symbol| tokens.is(at, symbol))
        || tokens.text(at).is_some()
}

/// Whether a name is one of several that are given something, and not the last one.
fn is_target(tokens: &Tokens, mut at: usize) -> bool {
    if !tokens.is(at + 1, ",") {
        return false;
    }
    while tokens.name(at).is_some() && tokens.is(at + 1, ",") {
        at += 2;
    }
    tokens.name(at).is_some() && tokens.is(at + 1, "=")
}

/// Whether a field of the name at a place is given something, perhaps among others.
fn is_field_set(tokens: &Tokens, at: usize) -> bool {
    let mut end = end_of_target(tokens, at);
    if end == at + 1 {
        return false;
    }
    while tokens.is(end, ",") && tokens.name(end + 1).is_some() {
        end = end_of_target(tokens, end + 1);
    }
    tokens.is(end, "=")
}

/// Behind a name and the fields that are taken of it.
fn end_of_target(tokens: &Tokens, at: usize) -> usize {
    let mut end = at + 1;
    loop {
        if tokens.is_access(end) && tokens.name(end + 1).is_some() {
            end += 2;
        } else if tokens.is(end, "[")
            && let Some(last) = closing(tokens, end)
        {
            end = last + 1;
        } else {
            return end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::lost_locals;
    use crate::lua::Tokens;

    fn lost(text: &str) -> Vec<String> {
        let tokens = Tokens::of(text.as_bytes());
        lost_locals(&tokens).into_iter().map(|lost| format!("{}: {}", lost.line, lost.reason)).collect()
    }

    /// What is lost of a job in a callback that begins with some lines.
    fn lost_of(begin: &str, used: &str) -> Vec<String> {
        lost(&format!(
            "return {{ onpacket = function(engine, layer)\n{begin}\n\
             T.async:schedule {{ data = '', onexecute = function(data)\nreturn {used}, data end }} end }}"
        ))
    }

    #[test]
    fn variables_that_cannot_travel_are_named_with_their_reason() {
        for (begin, used, reason) in [
            ("local f = io.open('x')", "f:read()", "'f' is a userdata"),
            ("local f, why = io.open('x', 'w')", "f, why", "'f' is a userdata"),
            ("local f = assert(io.popen 'ls')", "f", "'f' is a userdata"),
            ("local f if engine then f = io.open(a(b), c[1]) end", "f", "'f' is a userdata"),
            ("local out = io.stderr", "out", "'out' is a userdata"),
            ("local co = coroutine.create(function() end)", "co", "'co' is a coroutine"),
            ("local n, co = 1, 2; local co = coroutine.create(print)", "co", "'co' is a coroutine"),
            ("local co = coroutine.wrap(print)", "co()", "'co' is a function that is not written in Lua"),
            ("local p = T.re2('a+')", "p:partial_match(data)", "'p' is a userdata"),
            ("local raw = layer:rawbytes()", "raw:tostring()", "'raw' is an object of the callback"),
            ("local ip = layer:packet():get_layer(1)", "ip", "'ip' is an object of the callback"),
            ("local e = engine", "e:id()", "'e' is an object of the callback"),
            ("", "layer", "'layer' is an object of the callback"),
            ("local f = io.open('x') or nil", "f", "'f' is a userdata"),
            ("local a, f = 1 + 2, io.open('x')", "f", "'f' is a userdata"),
            ("local raw = n > 1 and layer:rawbytes()", "raw", "'raw' is an object of the callback"),
            ("local raw = n > 1 and (layer:rawbytes()) or nil", "raw", "'raw' is an object of the callback"),
            ("local one = a == b and layer or engine", "one", "'one' is an object of the callback"),
            ("local raw = nil if n > 1 then raw = layer:rawbytes() end", "raw", "'raw' is an object of the callback"),
            ("local raw raw = n > 1 and layer:rawbytes()", "raw", "'raw' is an object of the callback"),
            ("local t = { 1, n = f(2), raw = layer }", "t", "'t'.raw is an object of the callback"),
            (
                "local t = { [1] = 2, ['a b'] = { 1, layer:rawbytes() }, }",
                "t.x",
                "'t'.a b.[2] is an object of the callback",
            ),
            ("local t = { f = function(a) if a then return 1 end end; io.open('x') }", "t", "'t'.[1] is a userdata"),
            ("local t t = { layer }", "t", "'t'.[1] is an object of the callback"),
            ("local t = { layer } local u = t", "u", "'u'.[1] is an object of the callback"),
            (
                "local raw = layer:rawbytes() local function size() return raw:size() end",
                "size()",
                "'size' -> raw is an object of the callback",
            ),
            (
                "local raw = layer:rawbytes() local size = function() return raw:size() end",
                "size()",
                "'size' -> raw is an object of the callback",
            ),
        ] {
            let found = lost_of(begin, used);
            assert_eq!(found, [format!("3: {reason}")], "{begin}");
        }
    }

    #[test]
    fn what_travels_or_is_not_known_is_not_named() {
        for (begin, used) in [
            ("local f = io.open('x'):read('*a')", "f"),
            ("local f = io.open('x') f = f:read()", "f"),
            ("local f = io.open('x') or 1", "f"),
            ("local f = io.open('x') f = nil", "f"),
            ("local f = io.open('x') and 1", "f"),
            ("local f = not io.open('x')", "f"),
            ("local n = layer and layer:size()", "n"),
            ("local n = (layer:rawbytes()):size()", "n"),
            ("local t = { layer = 1, n = layer:size(), raw = nil }", "t"),
            ("local t = { raw = layer } t.raw = nil", "t"),
            ("local t = { raw = layer } t['raw'], x = nil", "t"),
            ("local n = ({ raw = layer }).n", "n"),
            ("local s = layer .. ''", "s"),
            ("local io = { open = print } local f = io.open('x')", "f"),
            ("local raw = layer:rawbytes():tostring()", "raw"),
            ("local raw = layer:rawbytes() raw, x = 1, 2", "raw"),
            ("local raw = layer:rawbytes()", "data.raw, { raw = 1 }, x:raw()"),
            ("local raw = layer:rawbytes() do local raw = 1 end local function f(raw) return raw end", "f"),
            ("do local raw = layer:rawbytes() end", "raw"),
            ("local raw = layer:rawbytes() local raw = raw:size()", "raw"),
            ("local raw = layer:rawbytes()", "(function(raw) return raw end)(1)"),
            (
                "for _, layer in ipairs(t) do x(layer) end for layer = 1, 2 do T.async:schedule { onexecute = function() return layer end } end",
                "1",
            ),
            ("local engine = engine:id() local layer = 1", "engine, layer"),
            ("if a then local f = io.open('x') elseif b then f = 1 else f = 2 end", "f"),
            ("repeat local f = io.open('x') until true while a do local f = io.open('x') end", "f"),
        ] {
            assert_eq!(lost_of(begin, used), Vec::<String>::new(), "{begin}");
        }
    }

    #[test]
    fn a_local_of_the_same_name_is_given_what_the_one_outside_is() {
        let found = lost_of("", "1 end, onresult = f, onexecute = function() local layer = layer return layer");
        assert_eq!(found, ["4: 'layer' is an object of the callback"]);
    }

    #[test]
    fn brackets_in_each_other_have_an_end() {
        for open in ["(", "{", "assert(", "- ", "not ", "a(", "{ x = "] {
            lost(&format!("local x = {}", open.repeat(3_000)));
        }
    }

    #[test]
    fn functions_are_followed_by_their_names() {
        let text = "local function cb(engine, layer)\nlocal raw = layer:rawbytes()\nlocal function work()\nreturn raw end\n\
                    local job = { data = '' }\njob.onexecute = work\nT.async:schedule(job)\nend";
        assert_eq!(lost(text), ["3: 'raw' is an object of the callback"]);
        let text = "local f = io.open('x')\nlocal function again() return again() end\nlocal function work() return f, again() end\n\
                    T.async:schedule { onexecute = work }";
        assert_eq!(lost(text), ["3: 'f' is a userdata"]);
    }

    proptest! {
        #[test]
        fn any_words_are_read_to_their_end(words in proptest::collection::vec(any::<proptest::sample::Index>(), 0..80)) {
            const WORDS: [&str; 31] = [
                "and", "or", "nil",
                "a", "b", "'1'", "=", ",", ".", ":", "(", ")", "[", "]", "{", "}", "end", "function", "for", "in", "local",
                "do", "then", "elseif", "else", "repeat", "until", "onexecute", "io.open", "assert", "self",
            ];
            let text: Vec<&str> = words.iter().map(|word| WORDS[word.index(WORDS.len())]).collect();
            lost(&text.join(" "));
        }
    }
}
