//! A configuration file: TOML, with a place for everything that is wrong.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Place};
use super::schema::{Key, Opinion, PATHS, Schema, Shape};

/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;
/// Tables of the section of paths may lie this deep in each other.
const MAX_DEPTH: usize = 16;

/// A value that a file or a variable gives to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The key, by its position in the schema.
    pub key: usize,
    /// Its values: one, or as many as the list has; a flag has `true` or `false`.
    pub values: Vec<String>,
    /// Where it stands.
    pub place: Place,
    /// Options without one of which it has no effect.
    pub needs: Vec<String>,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Its settings, in the order of the file.
    pub given: Vec<Given>,
    /// Values that scripts ask for by path.
    pub paths: Vec<(String, String, Option<Place>)>,
}

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn read(path: &Path, schema: &Schema) -> Result<Document, Vec<Fault>> {
    let whole = |message: String| vec![Fault::new(Place::Argument(path.display().to_string()), message)];
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| whole(format!("cannot be read: {e}")))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| whole(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(whole("is larger than 1 MiB; this is no configuration file".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let valid = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]).into_owned();
        let place = Place::of(path, &valid, &(valid.len()..valid.len()));
        vec![Fault::new(place, "not UTF-8; save the file as UTF-8")]
    })?;
    parse(&text, path, schema)
}

/// Takes a text apart.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn parse(text: &str, path: &Path, schema: &Schema) -> Result<Document, Vec<Fault>> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    if let Some(error) = errors.first() {
        let span = error.span().unwrap_or(0..0);
        // What the rest means after a mistake in the notation is guesswork.
        return Err(vec![Fault::new(Place::of(path, text, &span), notation(error.message()))]);
    }
    let mut reader = Reader { text, path, schema, document: Document::default(), faults: Vec::new() };
    reader.root(tree.get_ref());
    if reader.faults.is_empty() {
        return Ok(reader.document);
    }
    let position = |fault: &Fault| match fault.place {
        Place::File { line, column, .. } => (line, column),
        _ => (0, 0),
    };
    reader.faults.sort_by_key(position);
    Err(reader.faults)
}

/// What the TOML parser says, with the way out of the most frequent mistake.
fn notation(message: &str) -> String {
    if message.contains("string values must be quoted") || message.contains("invalid") && message.contains("value") {
        return format!("{message}; texts need quotes, as in name = \"text\"");
    }
    message.to_owned()
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    schema: &'a Schema,
    document: Document,
    faults: Vec<Fault>,
}

/// Entries in the order of the text.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

impl Reader<'_> {
    fn place(&self, span: &Range<usize>) -> Place {
        Place::of(self.path, self.text, span)
    }

    fn fault(&mut self, span: &Range<usize>, message: String) {
        let place = self.place(span);
        self.faults.push(Fault::new(place, message));
    }

    fn root(&mut self, root: &DeTable<'_>) {
        let sections = self.schema.sections();
        for (name, value) in in_order(root) {
            let known = sections.iter().any(|section| section == name.get_ref()) || name.get_ref() == PATHS;
            match value.get_ref() {
                _ if !known => self.fault(&name.span(), self.schema.unknown_section(name.get_ref())),
                DeValue::Table(table) if name.get_ref() == PATHS => self.paths(table, "", 0),
                DeValue::Table(table) => self.section(name.get_ref(), table),
                _ => self
                    .fault(&name.span(), format!("{0} is a section; write [{0}] on a line of its own", name.get_ref())),
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in in_order(table) {
            let found = self.schema.keys.iter().position(|key| key.section == section && key.name == **name.get_ref());
            match found {
                Some(index) => self.value(index, &name.span(), value),
                None => self.fault(&name.span(), self.schema.unknown(section, name.get_ref())),
            }
        }
    }

    fn value(&mut self, index: usize, at: &Range<usize>, value: &Spanned<DeValue<'_>>) {
        let key = &self.schema.keys[index];
        let elements: Vec<&Spanned<DeValue<'_>>> = match (key.shape, value.get_ref()) {
            (Shape::List, DeValue::Array(array)) => array.iter().collect(),
            _ => vec![value],
        };
        let mut values = Vec::new();
        let mut needs = Vec::new();
        for element in elements {
            match check(self.schema, key, &scalar(element.get_ref())) {
                Ok((text, required)) => {
                    values.push(text);
                    needs = required;
                }
                Err(message) => {
                    let span = element.span();
                    self.fault(&span, format!("{}: {message}", key.name));
                }
            }
        }
        let place = self.place(at);
        self.document.given.push(Given { key: index, values, place, needs });
    }

    /// Names joined by `>`, each as a table or quoted as a whole.
    fn paths(&mut self, table: &DeTable<'_>, above: &str, depth: usize) {
        for (name, value) in in_order(table) {
            let path =
                if above.is_empty() { name.get_ref().to_string() } else { format!("{above}>{}", name.get_ref()) };
            match value.get_ref() {
                DeValue::Table(_) if depth >= MAX_DEPTH => {
                    self.fault(&name.span(), format!("{path}: more than {MAX_DEPTH} tables in each other"));
                }
                DeValue::Table(table) => self.paths(table, &path, depth + 1),
                _ if path.split('>').any(|name| name.trim().is_empty()) || path.contains('=') => {
                    self.fault(
                        &name.span(),
                        format!("{path}: not a path; write names joined by >, as in \"App>DBRoot\""),
                    );
                }
                other => match scalar(other) {
                    Scalar::Text(text) | Scalar::Number(text) => self.set(path, text, &name.span()),
                    // The words of the original configuration.
                    Scalar::Truth(true) => self.set(path, "True".to_owned(), &name.span()),
                    Scalar::Truth(false) => self.set(path, "False".to_owned(), &name.span()),
                    Scalar::Other(what) => {
                        self.fault(
                            &value.span(),
                            format!("{path}: {what}, where a text, a number, true or false is needed"),
                        );
                    }
                },
            }
        }
    }

    fn set(&mut self, path: String, value: String, at: &Range<usize>) {
        let place = self.place(at);
        self.document.paths.push((path, value, Some(place)));
    }
}

/// A value that is no table and no list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A quoted text.
    Text(String),
    /// A number, in decimal.
    Number(String),
    /// True or false.
    Truth(bool),
    /// Something else.
    Other(&'static str),
}

/// A value as text.
#[must_use]
pub fn scalar(value: &DeValue<'_>) -> Scalar {
    match value {
        DeValue::String(text) => Scalar::Text(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Scalar::Number(number.as_str().to_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Scalar::Number(number.to_string()),
            Err(_) => Scalar::Other("a number that is too large"),
        },
        DeValue::Float(number) => Scalar::Number(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Scalar::Truth(*truth),
        DeValue::Datetime(_) => Scalar::Other("a date"),
        DeValue::Array(_) => Scalar::Other("a list"),
        DeValue::Table(_) => Scalar::Other("a table"),
    }
}

/// The value as it is typed, and what it has no effect without.
///
/// # Errors
/// What is wrong with it and what to type.
pub fn check(schema: &Schema, key: &Key, value: &Scalar) -> Result<(String, Vec<String>), String> {
    let text = match (key.shape, value) {
        (Shape::Flag, Scalar::Truth(truth)) => truth.to_string(),
        (Shape::Flag, _) => return Err("true or false is needed, without quotes".to_owned()),
        (_, Scalar::Text(text) | Scalar::Number(text)) => text.clone(),
        (Shape::List, Scalar::Truth(_)) => {
            return Err("true or false, where a list is needed, as [\"a\", \"b\"]".to_owned());
        }
        (_, Scalar::Truth(_)) => return Err("true or false, where a text or a number is needed".to_owned()),
        (_, Scalar::Other(what)) => return Err(format!("{what}, where a text or a number is needed")),
    };
    if text.contains('\0') {
        return Err("a text without NUL is needed".to_owned());
    }
    match schema.judge(key, &text) {
        Opinion::Good => Ok((text, Vec::new())),
        Opinion::Needs(options) => Ok((text, options)),
        Opinion::Bad(reason) => Err(reason),
    }
}

/// The file's full name, as scripts see it.
#[must_use]
pub fn full_name(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Document, parse};
    use crate::app::config::Schema;
    use proptest::prelude::{ProptestConfig, any, prop, proptest};
    use std::path::Path;

    fn faults(text: &str) -> Vec<String> {
        let parsed = parse(text, Path::new("f.toml"), &Schema::new());
        parsed.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn good(text: &str) -> Document {
        parse(text, Path::new("f.toml"), &Schema::new()).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
    }

    #[test]
    fn mistakes_have_a_place_and_a_way_out() {
        for (text, expected) in [
            ("[input]\nsnaplne = 1", "f.toml:2:1: snaplne: no such setting in [input]; did you mean snaplen?"),
            ("[inputs]\nsnaplen = 1", "f.toml:1:2: inputs: no such section; did you mean [input]?"),
            ("snaplen = 1", "f.toml:1:1: snaplen: a setting belongs into a section; write it below [input]"),
            ("input = 1", "f.toml:1:1: input is a section; write [input] on a line of its own"),
            (
                "[input]\nengines = 2",
                "f.toml:2:1: engines: no such setting in [input]; did you mean engines in [work]?",
            ),
            ("[store]\nsize = \"1\"", "f.toml:2:8: size: \"1\": a size of at least 64k such as 500m or 10g is needed"),
            ("[input]\nno_promisc = \"yes\"", "f.toml:2:14: no_promisc: true or false is needed, without quotes"),
            ("[input]\nread = true", "f.toml:2:8: read: true or false, where a list is needed, as [\"a\", \"b\"]"),
            ("[input]\nread = [\"a\", []]", "f.toml:2:14: read: a list, where a text or a number is needed"),
            ("[input]\nsnaplen = 2020-01-01", "f.toml:2:11: snaplen: a date, where a text or a number is needed"),
            ("[trisul]\n\"App>\" = 1", "f.toml:2:1: App>: not a path; write names joined by >, as in \"App>DBRoot\""),
            (
                "[trisul.App]\nDBRoot = []",
                "f.toml:2:10: App>DBRoot: a list, where a text, a number, true or false is needed",
            ),
        ] {
            assert_eq!(faults(text), [expected], "{text}");
        }
        assert_eq!(faults("[input]\nx = 1\n[work]\ny = 2").len(), 2);
        for text in ["[input", "[input]\nfilter = tcp", "[input]\na = 1\na = 2", "= 1", "[input]\nsnaplen = 1 2"] {
            let found = faults(text);
            assert!(found.len() == 1 && found[0].starts_with("f.toml:"), "{text}: {found:?}");
        }
    }

    #[test]
    fn values_are_taken_as_they_are_typed() {
        let document = good(
            "[input]\nread = ['a', 'b']\nsnaplen = 0x60\nno_promisc = false\nspeed = 2.5\n[store]\nsize = '1g'\n\
             [trisul]\n\"App>DBRoot\" = '/a'\n[trisul.Ring]\nEnabled = true\n",
        );
        let values: Vec<Vec<String>> = document.given.iter().map(|given| given.values.clone()).collect();
        assert_eq!(values, [vec!["a", "b"], vec!["96"], vec!["false"], vec!["2.5"], vec!["1g"]]);
        assert_eq!(document.given[4].needs, ["store"]);
        let paths: Vec<(&str, &str)> =
            document.paths.iter().map(|(path, value, _)| (path.as_str(), value.as_str())).collect();
        assert_eq!(paths, [("App>DBRoot", "/a"), ("Ring>Enabled", "True")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_text_is_a_document_or_has_a_fault_with_a_place(text in any::<String>()) {
            if let Err(faults) = parse(&text, Path::new("f"), &Schema::new()) {
                assert!(!faults.is_empty());
            }
        }

        #[test]
        fn so_is_what_looks_like_a_document(lines in prop::collection::vec(
            "\\[?(input|store|trisul|work|App|x)\\]?|(snaplen|read|engines|size|\"a>b\"|a\\.b) ?= ?(1|-1|0xff|1e400|\"é\\u{1}\"|\\[1,2|true|'''|\\{a=1\\})",
            0..12,
        )) {
            let text = lines.join("\n");
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)).step_by(7) {
                if let Err(faults) = parse(&text[..cut], Path::new("f"), &Schema::new()) {
                    assert!(!faults.is_empty());
                }
            }
        }
    }
}
