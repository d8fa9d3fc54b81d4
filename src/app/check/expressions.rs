//! What expressions give, as far as their words tell: whether it can be sent to a worker.

use crate::lua::Tokens;

const FILE: &str = "a userdata";
pub(super) const OBJECT: &str = "an object of the callback";
/// What functions of libraries return.
const FUNCTIONS: [(&str, &str, &str); 7] = [
    ("io", "open", FILE),
    ("io", "popen", FILE),
    ("io", "tmpfile", FILE),
    ("coroutine", "create", "a coroutine"),
    ("coroutine", "wrap", "a function that is not written in Lua"),
    ("T", "re2", "a userdata"),
    ("T", "ac", "a userdata"),
];
/// Methods that return objects of a callback.
const METHODS: [&str; 6] = ["rawbytes", "packet", "get_layer", "find_layer", "flowid", "tobuffer"];
/// Expressions in each other; the compiler takes no more.
const MOST_DEEP: u32 = 200;

/// What stays behind of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// Behind the name of the value: empty, or the way to a field.
    pub path: String,
    /// What that is.
    pub why: &'static str,
}

impl Loss {
    /// The value itself stays behind.
    pub(super) const fn whole(why: &'static str) -> Self {
        Self { path: String::new(), why }
    }
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// `nil` or `false`.
    Nothing,
    /// Something that is sent, or is not known.
    Unknown,
    /// Something of which all or a part stays behind.
    Lost(Loss),
}

impl Given {
    fn of(loss: Option<Loss>) -> Self {
        loss.map_or(Self::Unknown, Self::Lost)
    }

    /// Either this one or the other.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (one, other) if one == other => one,
            _ => Self::Unknown,
        }
    }
}

/// What is known of names.
pub(super) trait Names {
    /// Whether a name is that of a local variable.
    fn is_local(&self, name: &str) -> bool;
    /// What stays behind of the variable of a name.
    fn loss_of(&self, name: &str) -> Option<Loss>;
}

/// Reads the expressions of a text.
pub(super) struct Expressions<'a, N> {
    tokens: &'a Tokens,
    names: &'a N,
}

impl<'a, N: Names> Expressions<'a, N> {
    pub fn new(tokens: &'a Tokens, names: &'a N) -> Self {
        Self { tokens, names }
    }

    /// What the expressions of a list give, and where it ends.
    pub fn list(&self, mut at: usize) -> (Vec<Given>, usize) {
        let mut all = Vec::new();
        loop {
            let (given, end) = self.expression(at, 0);
            all.push(given);
            if !self.tokens.is(end, ",") {
                return (all, end);
            }
            at = end + 1;
        }
    }

    /// `a and b or c`: where `a and b` gives `a`, that is nil or false.
    fn expression(&self, at: usize, depth: u32) -> (Given, usize) {
        let mut whole = Given::Nothing;
        let (mut last, mut end) = self.term(at, depth);
        loop {
            match self.tokens.name(end) {
                Some("and") => {}
                Some("or") => whole = whole.or(last),
                _ => return (whole.or(last), end),
            }
            (last, end) = self.term(end + 1, depth);
        }
    }

    /// Operands that are joined by anything but `and` and `or`.
    fn term(&self, at: usize, depth: u32) -> (Given, usize) {
        let (mut given, mut end) = self.operand(at, depth);
        while ["..", "==", "~=", "<=", ">=", Tokens::OTHER].iter().any(|symbol| self.tokens.is(end, symbol)) {
            (_, end) = self.operand(end + 1, depth);
            given = Given::Unknown;
        }
        (given, end)
    }

    fn operand(&self, mut at: usize, depth: u32) -> (Given, usize) {
        let tokens = self.tokens;
        let begin = at;
        while tokens.name(at) == Some("not") || tokens.is(at, Tokens::OTHER) {
            at += 1;
        }
        let (given, end) = match tokens.name(at) {
            Some("nil" | "false") => (Given::Nothing, at + 1),
            Some("function") => (Given::Unknown, end_of_function(tokens, at)),
            Some(
                "and" | "do" | "else" | "elseif" | "end" | "for" | "if" | "in" | "local" | "or" | "repeat" | "return"
                | "then" | "until" | "while" | "break",
            ) => (Given::Unknown, at),
            Some(name) => self.named(at, name, depth),
            None if tokens.is(at, "{") => self.table(at, depth),
            None if tokens.is(at, "(") => self.bracket(at, depth),
            None if [")", "]", "}", ",", ";", "="].iter().any(|symbol| tokens.is(at, symbol)) => (Given::Unknown, at),
            None if at >= tokens.len() => (Given::Unknown, at),
            None => (Given::Unknown, at + 1),
        };
        if at > begin { (Given::Unknown, end) } else { (given, end) }
    }

    fn named(&self, at: usize, name: &str, depth: u32) -> (Given, usize) {
        let tokens = self.tokens;
        if name == "assert" && tokens.is(at + 1, "(") && depth < MOST_DEEP {
            let (given, end) = self.expression(at + 2, depth + 1);
            let is_whole = tokens.is(end, ")") || tokens.is(end, ",");
            let end = closing(tokens, at + 1).map_or(tokens.len(), |last| last + 1);
            return self.behind(if is_whole { given } else { Given::Unknown }, end);
        }
        self.accessed(at, name)
    }

    /// What stands in brackets, and what is done with it.
    fn bracket(&self, at: usize, depth: u32) -> (Given, usize) {
        let Some(last) = closing(self.tokens, at) else { return (Given::Unknown, self.tokens.len()) };
        let given = match depth < MOST_DEEP {
            true => Some(self.expression(at + 1, depth + 1)).filter(|(_, end)| *end == last).map(|(given, _)| given),
            false => None,
        };
        self.behind(given.unwrap_or(Given::Unknown), last + 1)
    }

    /// Something whose fields are taken, or that is called.
    fn behind(&self, given: Given, end: usize) -> (Given, usize) {
        let mut last = end;
        let mut given = given;
        while let Some((next, is_method)) = self.suffix(last) {
            let method = self.tokens.name(last + 1).filter(|_| is_method);
            given = Given::of(method.filter(|name| METHODS.contains(name)).map(|_| Loss::whole(OBJECT)));
            last = next;
        }
        (given, last)
    }

    /// The end of a field, a call or the call of a method, and whether it is that.
    fn suffix(&self, at: usize) -> Option<(usize, bool)> {
        let tokens = self.tokens;
        let call = |at: usize| closing(tokens, at).or_else(|| tokens.text(at).map(|_| at)).map(|last| last + 1);
        if tokens.is_access(at) && tokens.name(at + 1).is_some() {
            return match call(at + 2).filter(|_| tokens.is(at, ":")) {
                Some(end) => Some((end, true)),
                None => Some((at + 2, false)),
            };
        }
        call(at).map(|end| (end, false))
    }

    /// A name, what is called by it, or a field of a library.
    fn accessed(&self, at: usize, name: &str) -> (Given, usize) {
        let tokens = self.tokens;
        let own = self.names.loss_of(name);
        let is_library = !self.names.is_local(name) && tokens.is(at + 1, ".");
        let Some(field) = tokens.name(at + 2).filter(|_| is_library) else {
            return self.behind(Given::of(own), at + 1);
        };
        let of_library = FUNCTIONS.iter().find(|(library, function, _)| *library == name && *function == field);
        let is_standard = name == "io" && ["stdin", "stdout", "stderr"].contains(&field);
        match self.suffix(at + 3).filter(|(_, is_method)| !is_method && !tokens.is_access(at + 3)) {
            Some((end, _)) if !tokens.is(at + 3, "[") => {
                self.behind(Given::of(of_library.map(|row| Loss::whole(row.2))), end)
            }
            _ => self.behind(Given::of(is_standard.then_some(Loss::whole(FILE))), at + 3),
        }
    }

    /// A table in whose fields something may stay behind; the first of them is told of.
    fn table(&self, at: usize, depth: u32) -> (Given, usize) {
        let tokens = self.tokens;
        let Some(last) = closing(tokens, at).filter(|_| depth < MOST_DEEP) else {
            return (Given::Unknown, closing(tokens, at).map_or(tokens.len(), |last| last + 1));
        };
        let (mut next, mut number, mut first) = (at + 1, 0, None);
        while next < last {
            let (key, value) = match self.key(next) {
                Some(found) => found,
                None => {
                    number += 1;
                    (format!("[{number}]"), next)
                }
            };
            let (given, end) = self.expression(value, depth + 1);
            if let (Given::Lost(loss), None) = (given, &first) {
                first = Some(Loss { path: format!(".{key}{}", loss.path), why: loss.why });
            }
            if end < last && !tokens.is(end, ",") && !tokens.is(end, ";") {
                return (Given::Unknown, last + 1);
            }
            next = end + 1;
        }
        (Given::of(first), last + 1)
    }

    /// The key of a field, and where its value begins.
    fn key(&self, at: usize) -> Option<(String, usize)> {
        let tokens = self.tokens;
        if let Some(name) = tokens.name(at).filter(|_| tokens.is(at + 1, "=")) {
            return Some((name.to_owned(), at + 2));
        }
        let last = closing(tokens, at).filter(|last| tokens.is(at, "[") && tokens.is(*last + 1, "="))?;
        let text =
            tokens.text(at + 1).filter(|_| last == at + 2).map(|text| String::from_utf8_lossy(text).into_owned());
        Some((text.unwrap_or_else(|| "[?]".to_owned()), last + 2))
    }
}

/// Behind the `end` of a function.
fn end_of_function(tokens: &Tokens, at: usize) -> usize {
    let mut depth = 0_usize;
    for at in at..tokens.len() {
        match tokens.name(at) {
            Some("function" | "do" | "if" | "repeat") => depth += 1,
            Some("end" | "until") => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The bracket that closes the one at a place.
pub(super) fn closing(tokens: &Tokens, opening: usize) -> Option<usize> {
    let any = |at: usize, brackets: [&str; 3]| brackets.iter().any(|bracket| tokens.is(at, bracket));
    if !any(opening, ["(", "[", "{"]) {
        return None;
    }
    let mut depth = 0_usize;
    for at in opening..tokens.len() {
        if any(at, ["(", "[", "{"]) {
            depth += 1;
        } else if any(at, [")", "]", "}"]) {
            depth = depth.checked_sub(1)?;
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}
