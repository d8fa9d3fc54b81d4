//! Compiled patterns within limits on memory.

use std::cell::{OnceCell, RefCell};

use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_automata::nfa::thompson;
use regex_automata::nfa::thompson::pikevm;
use regex_automata::util::captures::Captures as Slots;
use regex_automata::util::syntax as automata_syntax;
use regex_automata::{Anchored, Input, MatchKind};

use super::syntax::{Encoding, SyntaxError, SyntaxOptions, translate};

/// Longest pattern text accepted.
const MAX_PATTERN: usize = 256 * 1024;
/// Most memory the program of one pattern may take.
const MAX_PROGRAM: usize = 8 * 1024 * 1024;
/// Most memory the lazily built automaton of one pattern may take; past it, it starts anew.
const MAX_AUTOMATON: usize = 1024 * 1024;

/// How a pattern is to be read and matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// How the pattern is read.
    pub syntax: SyntaxOptions,
    /// The pattern is plain text.
    pub literal: bool,
    /// Letters match themselves only.
    pub case_sensitive: bool,
    /// Of all matches at the leftmost position the longest counts, not the first one by order of alternatives.
    pub longest_match: bool,
}

impl Default for Options {
    fn default() -> Self {
        let syntax = SyntaxOptions { encoding: Encoding::Utf8, never_nl: false, never_capture: false };
        Self { syntax, literal: false, case_sensitive: true, longest_match: false }
    }
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// RE2 would refuse it.
    #[error("{0}")]
    Syntax(#[from] SyntaxError),
    /// The text itself is too long.
    #[error("pattern of {length} bytes exceeds the limit of {limit}")]
    TooLong {
        /// Length of the pattern.
        length: usize,
        /// Longest accepted.
        limit: usize,
    },
    /// The regular expression engine refused it.
    #[error("{0}")]
    Engine(String),
}

/// A pattern ready to match.
#[derive(Debug)]
pub struct Matcher {
    search: Regex,
    source: String,
    options: Options,
    /// Compiled at the first use: few patterns are asked for a full match.
    full: OnceCell<Option<Regex>>,
    longest: Option<Longest>,
}

/// What a leftmost-longest search needs besides the leftmost-first one.
#[derive(Debug)]
struct Longest {
    /// Finds the furthest end from a given start.
    extent: pikevm::PikeVM,
    cache: RefCell<pikevm::Cache>,
    /// Finds the groups of a match whose end is the end of the text.
    groups: Regex,
}

/// Groups of a match: the whole of it at 0, `None` for a group that took no part.
type Groups<'t> = Vec<Option<&'t [u8]>>;

impl Matcher {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When the pattern is not valid RE2 syntax, or would need more memory than allowed.
    pub fn new(pattern: &[u8], options: Options) -> Result<Self, PatternError> {
        if pattern.len() > MAX_PATTERN {
            return Err(PatternError::TooLong { length: pattern.len(), limit: MAX_PATTERN });
        }
        let source = if options.literal {
            let mut text = Vec::with_capacity(pattern.len() + 4);
            // A quoted stretch cannot hold its own end, so that is spelled out.
            for (index, part) in split_on(pattern, b"\\E").into_iter().enumerate() {
                if index > 0 {
                    text.extend_from_slice(b"\\\\E");
                }
                text.extend_from_slice(b"\\Q");
                text.extend_from_slice(part);
                text.extend_from_slice(b"\\E");
            }
            translate(&text, options.syntax)?
        } else {
            translate(pattern, options.syntax)?
        };
        let search = build(&source, options)?;
        let longest = if options.longest_match { Some(Longest::new(&source, options)?) } else { None };
        Ok(Self { search, source, options, full: OnceCell::new(), longest })
    }

    /// Number of capturing groups.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.search.captures_len() - 1
    }

    /// Whether the pattern matches anywhere in the text.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.search.is_match(text)
    }

    /// Whether the pattern matches the whole text.
    #[must_use]
    pub fn is_full_match(&self, text: &[u8]) -> bool {
        self.full_regex().is_some_and(|full| full.is_match(text))
    }

    /// The groups of the first match.
    #[must_use]
    pub fn find<'t>(&self, text: &'t [u8]) -> Option<Groups<'t>> {
        match &self.longest {
            Some(longest) => longest.find(&self.search, text),
            None => self.search.captures(text).map(|captures| groups_of(&captures)),
        }
    }

    /// The groups of a match of the whole text.
    #[must_use]
    pub fn find_full<'t>(&self, text: &'t [u8]) -> Option<Groups<'t>> {
        self.full_regex()?.captures(text).map(|captures| groups_of(&captures))
    }

    fn full_regex(&self) -> Option<&Regex> {
        // An anchored pattern that exceeds the limit while the plain one did not cannot match; that is a margin of a few
        // bytes.
        self.full.get_or_init(|| build(&format!(r"\A(?:{})\z", self.source), self.options).ok()).as_ref()
    }
}

fn split_on<'a>(text: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(separator.len()).position(|window| window == separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

fn build(source: &str, options: Options) -> Result<Regex, PatternError> {
    RegexBuilder::new(source)
        .unicode(options.syntax.encoding == Encoding::Utf8)
        .case_insensitive(!options.case_sensitive)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_AUTOMATON)
        .build()
        .map_err(|error| PatternError::Engine(reason(&error)))
}

/// The last line of the engine's message: the lines before it show a pattern that the plugin did not write.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("pattern too large: it needs more than {limit} bytes")
        }
        other => {
            let text = other.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}

fn groups_of<'t>(captures: &Captures<'t>) -> Groups<'t> {
    captures.iter().map(|group| group.map(|found| found.as_bytes())).collect()
}

impl Longest {
    fn new(source: &str, options: Options) -> Result<Self, PatternError> {
        let syntax = automata_syntax::Config::new()
            .unicode(options.syntax.encoding == Encoding::Utf8)
            .utf8(false)
            .case_insensitive(!options.case_sensitive);
        let extent = pikevm::PikeVM::builder()
            .syntax(syntax)
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_PROGRAM)))
            .configure(pikevm::PikeVM::config().match_kind(MatchKind::All))
            .build(source)
            .map_err(|error| PatternError::Engine(error.to_string()))?;
        let cache = RefCell::new(extent.create_cache());
        Ok(Self { extent, cache, groups: build(&format!(r"(?:{source})\z"), options)? })
    }

    /// The match that begins leftmost and, among those, ends last.
    fn find<'t>(&self, search: &Regex, text: &'t [u8]) -> Option<Groups<'t>> {
        // Where the leftmost match begins does not depend on which alternative is preferred.
        let start = search.find(text)?.start();
        let mut slots: Slots = self.extent.create_captures();
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        self.extent.search(&mut self.cache.borrow_mut(), &input, &mut slots);
        let end = slots.get_match()?.end();
        // Groups as the preferred alternative sets them. Cutting the text at the end can change what an assertion there
        // sees; then the groups of the search above stand.
        if let Some(captures) = self.groups.captures_at(&text[..end], start) {
            let groups = groups_of(&captures);
            if groups.first().copied().flatten().is_some_and(|whole| whole.len() == end - start) {
                return Some(groups);
            }
        }
        let spans = (0..slots.group_len()).map(|group| slots.get_group(group));
        Some(spans.map(|span| span.map(|span| &text[span.start..span.end])).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{Encoding, Matcher, Options, PatternError};

    fn matcher(pattern: &str) -> Matcher {
        Matcher::new(pattern.as_bytes(), Options::default()).unwrap_or_else(|error| panic!("{pattern}: {error}"))
    }

    fn latin1() -> Options {
        let mut options = Options::default();
        options.syntax.encoding = Encoding::Latin1;
        options
    }

    fn groups(matcher: &Matcher, text: &[u8]) -> Option<Vec<Option<String>>> {
        let text_of = |group: &[u8]| String::from_utf8_lossy(group).into_owned();
        matcher.find(text).map(|groups| groups.into_iter().map(|group| group.map(text_of)).collect())
    }

    #[test]
    fn perl_classes_are_ascii() {
        assert!(matcher(r"^\w+$").is_match(b"az_09"));
        for text in ["é", "\u{17f}", "\u{212a}"] {
            assert!(!matcher(r"(?i)\w").is_match(text.as_bytes()), "{text}");
            assert!(matcher(r"^\W$").is_match(text.as_bytes()), "{text}");
        }
        assert!(!matcher(r"\d").is_match("٣".as_bytes()));
        assert!(!matcher(r"\s").is_match(b"\x0b") && !matcher(r"\s").is_match("\u{a0}".as_bytes()));
        assert!(matcher(r"[^\S\n]").is_match(b" ") && !matcher(r"[^\S\n]").is_match(b"\n"));
        assert!(matcher(r"\bfoo\b").is_match("éfooé".as_bytes()));
    }

    #[test]
    fn what_re2_reads_differently() {
        for (pattern, text) in [
            (r"\Qa.b\E+", "a.bbb"),
            (r"\Qa.b", "a.b"),
            (r"^\C\C$", "é"),
            (r"^\101\x41\x{1F600}$", "AA😀"),
            (r"[[]", "["),
            (r"[]a]", "]"),
            (r"[a&&b]", "&"),
            (r"[a~~b]", "~"),
            (r"^[+--]$", ","),
            (r"[\w-]", "-"),
            (r"a{,2}", "a{,2}"),
            (r"a{x", "a{x"),
            (r"^{", "{"),
            (r"}]", "}]"),
            (r"\<b\>", "<b>"),
            (r"(?P<n>a)(?<m>b)", "ab"),
            (r"(?iims-msU:A)", "a"),
            (r"(?)a", "a"),
            (r"\p{^L}", "1"),
            (r"^\PN\pN$", "a1"),
            (r"[[:^alpha:]]", "1"),
            (r"^*a", "a"),
            (r"a\/b\-c\ d", "a/b-c d"),
            (r"#", "#"),
        ] {
            assert!(matcher(pattern).is_match(text.as_bytes()), "{pattern}");
        }
        // Valid in RE2, where the brace stands for itself.
        assert!(!matcher(r"\b{start}").is_match(b"start"));
    }

    #[test]
    fn what_re2_refuses() {
        for pattern in [
            "(",
            ")",
            "a**",
            "a*+",
            "a+?+",
            "*a",
            "(*a)",
            "a|*",
            r"\1",
            r"\8",
            r"\Z",
            r"\E",
            r"\",
            "[",
            "[a",
            "[]",
            "[b-a]",
            r"[a-\d]",
            r"[\b]",
            "[[:foo:]]",
            "a{2,1}",
            "a{1001}",
            "(?x)a",
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            "(?-)",
            "(?i",
            "(?i-m-s:a)",
            "(?P<1-2>a)",
            "(?P<n>a)(?P<n>b)",
            r"\pX",
            r"\p{Nope}",
            r"\x{110000}",
            r"\xZ",
            r"(?P=n)",
            r"\é",
        ] {
            assert!(Matcher::new(pattern.as_bytes(), Options::default()).is_err(), "{pattern}");
        }
        assert!(Matcher::new(b"\xff", Options::default()).is_err());
    }

    #[test]
    fn a_dot_matches_valid_characters_only() {
        assert!(!matcher("^a.b$").is_match(b"a\xffb"));
        assert!(matcher("a").is_match(b"\xff\xfea"));
        let latin1 = Matcher::new(b"^a.\xe9[\xe0-\xff]\\pL$", latin1()).unwrap();
        assert!(latin1.is_match(b"a\xff\xe9\xe9\xe9") && !latin1.is_match(b"a\xff\xe9\xe9\xb7"));
    }

    #[test]
    fn full_match_may_take_a_later_alternative() {
        let either = matcher("a|(ab)");
        assert!(either.is_full_match(b"ab") && !either.is_full_match(b"abc"));
        assert_eq!(either.find_full(b"ab"), Some(vec![Some(&b"ab"[..]), Some(&b"ab"[..])]));
        assert!(!matcher("a").is_full_match(b"a\n"));
    }

    #[test]
    fn longest_match_beats_order_and_laziness() {
        let longest = |pattern: &str| {
            Matcher::new(pattern.as_bytes(), Options { longest_match: true, ..Options::default() }).unwrap()
        };
        let whole = |pattern, text: &str| groups(&longest(pattern), text.as_bytes()).map(|groups| groups[0].clone());
        assert_eq!(whole("a|ab|abc", "xabcd"), Some(Some("abc".into())));
        assert_eq!(whole("a+?", "baaa"), Some(Some("aaa".into())));
        assert_eq!(whole("(a|ab)(c|bcd)", "abcd"), Some(Some("abcd".into())));
        let parts = groups(&longest("(a|ab)(c|bcd)"), b"abcd").unwrap();
        assert_eq!(parts[1..], [Some("a".into()), Some("bcd".into())]);
        assert_eq!(whole(r"a+\b|a", "aab"), Some(Some("a".into())));
        assert_eq!(whole("a$|ab", "ab"), Some(Some("ab".into())));
        assert_eq!(whole("x*", "aaa"), Some(Some(String::new())));
        assert_eq!(whole("a", "b"), None);
    }

    #[test]
    fn options_for_text_and_lines() {
        let mut options = Options { literal: true, ..Options::default() };
        let literal = Matcher::new(br"a.(\E*", options).unwrap();
        assert!(literal.is_match(br"xa.(\E*y") && !literal.is_match(b"ab(E*") && literal.group_count() == 0);
        options.case_sensitive = false;
        assert!(Matcher::new(b"a.B", options).unwrap().is_match(b"A.b"));
        let mut options = Options::default();
        options.syntax.never_nl = true;
        for pattern in [r"a\nb", "a\nb", r"a\sb", r"a\Wb", "a[^x]b", r"(?s)a.b", r"a\Cb", r"a\PLb", r"a[\n ]b"] {
            let found = Matcher::new(pattern.as_bytes(), options).unwrap();
            assert!(!found.is_match(b"a\nb"), "{pattern}");
        }
        assert!(Matcher::new(br"a[\s]b", options).unwrap().is_match(b"a b"));
        options.syntax.never_capture = true;
        assert_eq!(Matcher::new(b"(a)(?P<n>b)", options).unwrap().group_count(), 0);
    }

    #[test]
    fn patterns_that_would_eat_memory_are_refused() {
        let nested = "((a{1000}){1000}){1000}";
        assert!(matches!(Matcher::new(nested.as_bytes(), Options::default()), Err(PatternError::Engine(_))));
        let wide = r"(\pL{1000}){200}";
        assert!(Matcher::new(wide.as_bytes(), Options::default()).is_err());
        let deep = "(".repeat(100_000) + &")".repeat(100_000);
        assert!(Matcher::new(deep.as_bytes(), Options::default()).is_err());
        let long = "a".repeat(super::MAX_PATTERN + 1);
        assert!(matches!(Matcher::new(long.as_bytes(), Options::default()), Err(PatternError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[-a-c(){}\\[\\]\\\\^$.|?*+:<>P=!,0-9QEbBdDwWpLxnzA&~ é\n]{0,24}", text in prop::collection::vec(any::<u8>(), 0..32)) {
            for longest_match in [false, true] {
                for encoding in [Encoding::Utf8, Encoding::Latin1] {
                    for never_nl in [false, true] {
                        let mut options = Options { longest_match, ..Options::default() };
                        options.syntax.encoding = encoding;
                        options.syntax.never_nl = never_nl;
                        if let Ok(matcher) = Matcher::new(pattern.as_bytes(), options) {
                            let found = matcher.find(&text);
                            assert_eq!(found.is_some(), matcher.is_match(&text));
                            if let Some(groups) = found {
                                assert_eq!(groups.len(), matcher.group_count() + 1);
                                if never_nl && !pattern.contains('!') {
                                    assert!(!groups[0].unwrap_or_default().contains(&b'\n'));
                                }
                            }
                            assert_eq!(matcher.find_full(&text).is_some(), matcher.is_full_match(&text));
                        }
                    }
                }
            }
        }

        #[test]
        fn literal_text_finds_itself(text in prop::collection::vec(any::<u8>(), 1..40)) {
            let options = Options { literal: true, ..latin1() };
            assert!(Matcher::new(&text, options).unwrap().is_full_match(&text));
        }
    }
}
