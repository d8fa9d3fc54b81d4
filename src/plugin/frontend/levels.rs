//! What stands around the words of a script: the brackets and blocks that they are in, and what an expression belongs to.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::keeping::is_field;
use crate::lua::Tokens;

const NO_PARTNER: usize = usize::MAX;

/// What stands in front of an expression, on the same level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// A bracket that it is in, and the commas in between.
    Bracket(usize, usize),
    /// The `=` of an assignment or declaration, and the commas in between.
    Assignment(usize, usize),
    /// The word that begins a condition.
    Condition,
    Other,
}

impl Before {
    /// The same behind one more comma.
    const fn behind_comma(self) -> Self {
        match self {
            Self::Bracket(bracket, commas) => Self::Bracket(bracket, commas + 1),
            Self::Assignment(sign, commas) => Self::Assignment(sign, commas + 1),
            Self::Condition | Self::Other => Self::Other,
        }
    }
}

/// A text that is made of whole blocks and brackets.
#[derive(Debug)]
pub(super) struct Levels<'a> {
    /// For every word that opens or closes something the other one.
    partners: Vec<usize>,
    before: Vec<Before>,
    outermost: HashSet<usize>,
    /// Where each name is that is no field.
    mentions: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Levels<'a> {
    /// Reads a text once; `None` if something is not closed, or not by what it should be.
    pub(super) fn of(script: &'a Tokens) -> Option<Self> {
        let mut levels = Self {
            partners: vec![NO_PARTNER; script.len()],
            before: Vec::with_capacity(script.len()),
            outermost: HashSet::new(),
            mentions: HashMap::new(),
        };
        // What closes a level, and what stood in front of it.
        let mut open: Vec<(usize, &str, Before)> = Vec::new();
        let mut current = Before::Other;
        for at in 0..script.len() {
            levels.before.push(current);
            let name = script.name(at);
            if let Some(name) = name
                && !is_field(script, at)
            {
                levels.mentions.entry(name).or_default().push(at);
            }
            if let Some(by) = closed_by(script, at) {
                if open.is_empty() {
                    levels.outermost.insert(at);
                }
                open.push((at, by, current));
                current = match name {
                    None => Before::Bracket(at, 0),
                    Some("if") => Before::Condition,
                    Some(_) => Before::Other,
                };
            } else if is_closing(script, at) {
                let (opener, by, outside) = open.pop()?;
                if !(script.is(at, by) || name == Some(by)) {
                    return None;
                }
                (levels.partners[opener], levels.partners[at]) = (at, opener);
                current = match name {
                    None => outside,
                    Some("until") => Before::Condition,
                    Some(_) => Before::Other,
                };
            } else if let Some(name) = name {
                match name {
                    "elseif" | "while" => current = Before::Condition,
                    "and" | "or" | "not" | "nil" | "true" | "false" => {}
                    _ if is_keyword(name) => current = Before::Other,
                    _ => {}
                }
            } else if script.is(at, "=") {
                current = Before::Assignment(at, 0);
            } else if script.is(at, ";") {
                current = Before::Other;
            } else if script.is(at, ",") {
                current = current.behind_comma();
            }
        }
        open.is_empty().then_some(levels)
    }

    /// The word that closes what this one opens, or the other way round.
    pub(super) fn partner_of(&self, at: usize) -> Option<usize> {
        self.partners.get(at).copied().filter(|&partner| partner != NO_PARTNER)
    }

    /// What stands in front of an expression that begins with this word.
    pub(super) fn before(&self, at: usize) -> Before {
        self.before.get(at).copied().unwrap_or(Before::Other)
    }

    /// Whether a word opens something that is in nothing else.
    pub(super) fn is_outermost(&self, at: usize) -> bool {
        self.outermost.contains(&at)
    }

    /// Where a variable of this name may be meant.
    pub(super) fn mentions(&self, name: &str, words: &Range<usize>) -> &[usize] {
        let all = self.mentions.get(name).map_or(&[][..], Vec::as_slice);
        let place_of = |word: usize| all.partition_point(|&at| at < word);
        &all[place_of(words.start)..place_of(words.end.max(words.start))]
    }
}

/// What closes what a word opens, if it opens something.
fn closed_by(script: &Tokens, at: usize) -> Option<&'static str> {
    match script.name(at) {
        Some("function" | "do" | "if") => Some("end"),
        Some("repeat") => Some("until"),
        Some(_) => None,
        None => [("(", ")"), ("[", "]"), ("{", "}")].into_iter().find(|(it, _)| script.is(at, it)).map(|(_, by)| by),
    }
}

fn is_closing(script: &Tokens, at: usize) -> bool {
    match script.name(at) {
        Some(name) => name == "end" || name == "until",
        None => [")", "]", "}"].iter().any(|it| script.is(at, it)),
    }
}

/// Words that no name can be.
pub(super) fn is_keyword(name: &str) -> bool {
    matches!(
        name,
        "and"
            | "break"
            | "do"
            | "else"
            | "elseif"
            | "end"
            | "false"
            | "for"
            | "function"
            | "if"
            | "in"
            | "local"
            | "nil"
            | "not"
            | "or"
            | "repeat"
            | "return"
            | "then"
            | "true"
            | "until"
            | "while"
    )
}

#[cfg(test)]
mod tests {
    use super::{Before, Levels};
    use crate::lua::Tokens;

    /// What stands in front of the only `x` of a text.
    fn before(text: &str) -> Before {
        let tokens = Tokens::of(text.as_bytes());
        let levels = Levels::of(&tokens).unwrap();
        let &[at] = levels.mentions("x", &(0..tokens.len())) else { panic!("{text}") };
        levels.before(at)
    }

    #[test]
    fn an_expression_belongs_to_the_nearest_word_in_front_of_it_on_its_level() {
        for (text, expected) in [
            ("f(a, g(1, { 2, 3 }), x)", Before::Bracket(1, 2)),
            ("t[a and not x]", Before::Bracket(1, 0)),
            ("local a, b = f(1, 2), x", Before::Assignment(4, 1)),
            ("if f(a, b) and x then end", Before::Condition),
            ("repeat f() until a or x", Before::Condition),
            ("while f() do end x()", Before::Other),
            ("if a then x() end", Before::Other),
            ("f(function() a = 1 end, x)", Before::Other),
            ("a = 1; x()", Before::Other),
            ("f(a)[x]", Before::Bracket(4, 0)),
            ("f({ x = 1 })", Before::Bracket(2, 0)),
        ] {
            assert_eq!(before(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_closed_by_its_own_has_no_levels() {
        for text in ["(", "f(]", "if x then", "do )", "end", "repeat end", "function f() until"] {
            assert!(Levels::of(&Tokens::of(text.as_bytes())).is_none(), "{text}");
        }
    }
}
