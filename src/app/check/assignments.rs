//! Which names a text gives which strings to, as far as its words tell: what is assigned by one statement, to whom, and
//! which other places make something of a name.

use std::collections::{BTreeMap, BTreeSet};

use crate::lua::Tokens;

/// Names that stand for one string throughout a text, of those that `read` makes something of.
pub fn constants<T: Copy + PartialEq>(tokens: &Tokens, read: impl Fn(&[u8]) -> Option<T>) -> BTreeMap<&str, T> {
    let (mut known, mut ambiguous) = (BTreeMap::new(), BTreeSet::new());
    let mut open: Vec<Open> = Vec::new();
    for at in 0..tokens.len() {
        if tokens.is(at, "=") && open.last() != Some(&Open::Table) {
            let mut values = values(tokens, at + 1).into_iter();
            for target in targets(tokens, at) {
                let value = values.next().and_then(&read);
                let Some(name) = target else { continue };
                match value {
                    Some(value) if known.insert(name, value).is_none_or(|before| before == value) => {}
                    _ => {
                        ambiguous.insert(name);
                    }
                }
            }
        }
        ambiguous.extend(bound(tokens, at));
        follow(tokens, at, &mut open);
    }
    known.retain(|name, _| !ambiguous.contains(name));
    known
}

/// What is not closed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// A table, in which `name =` sets a field.
    Table,
    /// Any other bracket, or a block.
    Other,
}

/// Keeps account of what is open behind a word.
fn follow(tokens: &Tokens, at: usize, open: &mut Vec<Open>) {
    let keyword = tokens.name(at).filter(|_| at == 0 || !tokens.is_access(at - 1));
    if tokens.is(at, "{") {
        open.push(Open::Table);
    } else if ["(", "["].iter().any(|bracket| tokens.is(at, bracket))
        // What begins with `while` or `for` goes on with `do`.
        || matches!(keyword, Some("function" | "do" | "if" | "repeat"))
    {
        open.push(Open::Other);
    } else if ["}", ")", "]"].iter().any(|bracket| tokens.is(at, bracket)) || matches!(keyword, Some("end" | "until")) {
        open.pop();
    }
}

/// What stands left of an equal sign, in order; `None` for fields.
fn targets(tokens: &Tokens, equals: usize) -> Vec<Option<&str>> {
    let mut list = Vec::new();
    let mut end = equals;
    while let Some(start) = start_of_target(tokens, end) {
        list.push(tokens.name(start).filter(|_| start + 1 == end));
        if start < 2 || !tokens.is(start - 1, ",") {
            break;
        }
        end = start - 1;
    }
    list.reverse();
    list
}

/// Where `a`, `a.b`, `a[b].c` or `a(b).c` begins that ends in front of a place.
fn start_of_target(tokens: &Tokens, end: usize) -> Option<usize> {
    let mut last = end.checked_sub(1)?;
    loop {
        if tokens.name(last).is_some() {
            if last < 2 || !tokens.is_access(last - 1) {
                return Some(last);
            }
            last -= 2;
        } else {
            let opening = opening(tokens, last)?;
            let before = opening.checked_sub(1);
            match before.filter(|&before| is_end_of_prefix(tokens, before)) {
                Some(before) => last = before,
                None => return Some(opening),
            }
        }
    }
}

fn is_end_of_prefix(tokens: &Tokens, at: usize) -> bool {
    tokens.name(at).is_some() || tokens.is(at, ")") || tokens.is(at, "]")
}

/// The bracket that the one at a place closes.
fn opening(tokens: &Tokens, closing: usize) -> Option<usize> {
    let any = |at: usize, brackets: [&str; 3]| brackets.iter().any(|bracket| tokens.is(at, bracket));
    let mut depth = 0_usize;
    for at in (0..=closing).rev() {
        if any(at, [")", "]", "}"]) {
            depth += 1;
        } else if any(at, ["(", "[", "{"]) {
            depth = depth.checked_sub(1)?;
        }
        if depth == 0 {
            return (at < closing).then_some(at);
        }
    }
    None
}

/// The strings right of an equal sign, up to the first value that is none.
fn values(tokens: &Tokens, mut at: usize) -> Vec<&[u8]> {
    let mut list = Vec::new();
    while let Some(text) = tokens.text(at) {
        let is_part = matches!(tokens.name(at + 1), Some("and" | "or"))
            || ["..", "==", "~=", Tokens::OTHER].iter().any(|symbol| tokens.is(at + 1, symbol));
        if is_part {
            break;
        }
        list.push(text);
        if !tokens.is(at + 1, ",") {
            break;
        }
        at += 2;
    }
    list
}

/// Names that get a value from elsewhere: those of functions and loops, and parameters.
fn bound(tokens: &Tokens, at: usize) -> Vec<&str> {
    let last = match tokens.name(at) {
        Some("for") => "in",
        Some("function") => ")",
        _ => return Vec::new(),
    };
    let is_over = |at: &usize| tokens.is(*at, last) || tokens.name(*at) == Some(last) || tokens.is(*at, "=");
    let places = (at + 1..tokens.len()).take_while(|at| !is_over(at));
    places.filter(|at| !tokens.is_access(at - 1)).filter_map(|at| tokens.name(at)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::constants;
    use crate::lua::Tokens;

    fn known(text: &str) -> Vec<(String, String)> {
        let tokens = Tokens::of(text.as_bytes());
        let known = constants(&tokens, |text| match text {
            b"1" => Some("1"),
            b"2" => Some("2"),
            _ => None,
        });
        known.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_name_of_an_assignment_gets_the_value_at_its_place() {
        for text in [
            "local A, B = '1', '2'",
            "A, B = '1', '2' f(A, B)",
            "local A, B = '1', '2'; local C",
            "t.x, A, t[f(1, 2)], B, g(A).y = 'x', '1', 'x', '2'",
            "local x = y A, B = '1', '2' (f or g)(A)",
            "local A, B, C = '1', '2'",
            "local A = '1' local t = { x = 1, f = function(t) local B, C = '2', f() end }",
        ] {
            assert_eq!(known(text), pairs(&[("A", "1"), ("B", "2")]), "{text}");
        }
    }

    #[test]
    fn what_is_not_plainly_one_string_is_not_known() {
        for text in [
            "local A = '1' .. x",
            "local A = '1' or '2'",
            "local A = '1' == x",
            "local A, B = f(), '1'",
            "local B, A = f('1')",
            "local A = '1' A = '2'",
            "local A = '1' t.x, A = 1, 2",
            "local A = '1' A, t[1], B = 1",
            "local A = '1' for A in pairs(t) do end",
            "local A = '1' for i, A in pairs(t) do end",
            "local A = '1' for A = 1, 2 do end",
            "local A = '1' local function f(x, A) end",
            "local A = '1' function A(x) end",
            "if A <= '1' or A >= '1' then end",
            "local t = { A = '1' }",
            "local t = { x = y, A = '1', [A] = '1' }",
            "t.A = '1'",
        ] {
            assert_eq!(known(text), [], "{text}");
        }
    }

    #[test]
    fn fields_of_a_name_are_not_the_name() {
        for text in
            ["local A = '1' t.A = '2'", "local A = '1' local t = { A = '2' }", "local A = '1' function t.A() end"]
        {
            assert_eq!(known(text), pairs(&[("A", "1")]), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_read_to_their_end(words in proptest::collection::vec(any::<proptest::sample::Index>(), 0..60)) {
            const WORDS: [&str; 16] = [
                "a", "b", "'1'", "=", ",", ".", "(", ")", "[", "]", "{", "}", "end", "function", "for", "in",
            ];
            let text: Vec<&str> = words.iter().map(|word| WORDS[word.index(WORDS.len())]).collect();
            known(&text.join(" "));
        }
    }
}
