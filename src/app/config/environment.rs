//! Settings from variables of the environment, `MILLSTREAM_<SECTION>_<KEY>`.

use std::ffi::OsString;

use toml::de::DeValue;

use super::fault::{Fault, Place};
use super::file::{Given, Scalar, check, scalar};
use super::schema::{Key, PATHS, SET, Schema, Shape};
use crate::app::check::nearest;

/// How the names of the variables begin.
pub const PREFIX: &str = "MILLSTREAM_";

/// Reads the variables that are settings. Others are none of ours, but for those that look like one.
///
/// # Errors
/// Everything that is wrong with them, in order of name.
pub fn read(variables: impl Iterator<Item = (OsString, OsString)>, schema: &Schema) -> Result<Vec<Given>, Vec<Fault>> {
    let mut named: Vec<(String, OsString)> =
        variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    named.retain(|(name, _)| name.starts_with(PREFIX));
    named.sort();
    let (mut given, mut faults) = (Vec::new(), Vec::new());
    for (name, value) in named {
        let place = Place::Variable(name.clone());
        let Some(key) = schema.keys.iter().position(|key| key.variable() == name) else {
            faults.extend(unknown(&name, schema).map(|message| Fault::new(place, message)));
            continue;
        };
        let Ok(text) = value.into_string() else {
            faults.push(Fault::new(place, "not UTF-8"));
            continue;
        };
        match values(schema, &schema.keys[key], &text) {
            Ok((values, needs)) => given.push(Given { key, values, place, needs }),
            Err(message) => faults.push(Fault::new(place, message)),
        }
    }
    if faults.is_empty() { Ok(given) } else { Err(faults) }
}

/// A list is written as in the file, `["a", "b"]`; anything else is one element.
fn values(schema: &Schema, key: &Key, text: &str) -> Result<(Vec<String>, Vec<String>), String> {
    if key.shape == Shape::Flag {
        return match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok((vec!["true".to_owned()], Vec::new())),
            "false" | "0" | "no" | "off" | "" => Ok((vec!["false".to_owned()], Vec::new())),
            _ => Err(format!("\"{text}\": true or false is needed")),
        };
    }
    let mut elements = vec![Scalar::Text(text.to_owned())];
    if key.shape == Shape::List && text.trim_start().starts_with('[') {
        let list =
            DeValue::parse(text.trim()).map_err(|e| format!("{}; write a list as [\"a\", \"b\"]", e.message()))?;
        if let DeValue::Array(array) = list.get_ref() {
            elements = array.iter().map(|element| scalar(element.get_ref())).collect();
        }
    }
    let (mut values, mut needs) = (Vec::new(), Vec::new());
    for element in elements {
        let (value, required) = check(schema, key, &element)?;
        values.push(value);
        needs = required;
    }
    Ok((values, needs))
}

/// What to say of a variable that begins like a setting and is none.
fn unknown(name: &str, schema: &Schema) -> Option<String> {
    let begins = |section: &str| name.starts_with(&format!("{PREFIX}{}_", section.to_uppercase()));
    if begins(PATHS) {
        // A path has capitals and characters that a variable's name cannot have.
        let set = schema.keys.iter().find(|key| key.option == SET).map(Key::variable)?;
        return Some(format!("[{PATHS}] has no variables; write its paths as {set}='[\"App>DBRoot=/some/dir\"]'"));
    }
    if !schema.sections().iter().any(|section| begins(section)) {
        return None;
    }
    let all: Vec<String> = schema.keys.iter().map(Key::variable).collect();
    let meant = nearest(name, all.iter().map(String::as_str));
    Some(match meant {
        Some(meant) => format!("no such setting; did you mean {meant}?"),
        None => "no such setting; millstream config sample lists all".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::app::config::Schema;
    use proptest::prelude::{ProptestConfig, any, proptest};

    fn outcome(name: &str, value: &str) -> Result<Vec<String>, String> {
        match read([(name.into(), value.into())].into_iter(), &Schema::new()) {
            Ok(given) => Ok(given.into_iter().flat_map(|given| given.values).collect()),
            Err(faults) => Err(faults[0].to_string()),
        }
    }

    #[test]
    fn variables_are_settings_or_say_why_not() {
        let good = |values: &[&str]| Ok(values.iter().map(ToString::to_string).collect());
        assert_eq!(outcome("MILLSTREAM_INPUT_SNAPLEN", "96"), good(&["96"]));
        assert_eq!(outcome("MILLSTREAM_INPUT_READ", "a b,c:d"), good(&["a b,c:d"]));
        assert_eq!(outcome("MILLSTREAM_INPUT_READ", "[\"a\", 'b']"), good(&["a", "b"]));
        assert_eq!(outcome("MILLSTREAM_INPUT_NO_PROMISC", "Yes"), good(&["true"]));
        assert_eq!(outcome("MILLSTREAM_DATA", "/x"), good(&[]));
        assert_eq!(outcome("MILLSTREAM_LUA_PATHS", "/x"), good(&[]));
        let bad = |text: &str| Err(text.to_owned());
        assert_eq!(
            outcome("MILLSTREAM_INPUT_SNAPLN", "1"),
            bad("MILLSTREAM_INPUT_SNAPLN: no such setting; did you mean MILLSTREAM_INPUT_SNAPLEN?")
        );
        assert_eq!(
            outcome("MILLSTREAM_STORE_WHATEVER", "1"),
            bad("MILLSTREAM_STORE_WHATEVER: no such setting; millstream config sample lists all")
        );
        assert_eq!(
            outcome("MILLSTREAM_TRISUL_FOO", "1"),
            bad("MILLSTREAM_TRISUL_FOO: [trisul] has no variables; write its paths as \
                 MILLSTREAM_PLUGINS_SET='[\"App>DBRoot=/some/dir\"]'")
        );
        assert_eq!(
            outcome("MILLSTREAM_OUTPUT_FLOWS", "perhaps"),
            bad("MILLSTREAM_OUTPUT_FLOWS: \"perhaps\": true or false is needed")
        );
        assert!(outcome("MILLSTREAM_INPUT_READ", "[\"a\"").unwrap_err().ends_with("write a list as [\"a\", \"b\"]"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn no_value_of_a_list_panics(text in any::<String>()) {
            let _ = outcome("MILLSTREAM_INPUT_READ", &text);
            let _ = outcome("MILLSTREAM_INPUT_READ", &format!("[{text}"));
        }
    }
}
