//! The requests there are, and how a line becomes an answer.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value, json};

use crate::app::check::nearest;

/// What answers a request: from its fields to those of the answer, or to what was wrong with it.
pub type Answering = Box<dyn Fn(&Map<String, Value>) -> Result<Map<String, Value>, String> + Send + Sync>;

/// The requests by name.
#[derive(Default)]
pub struct Requests {
    entries: BTreeMap<&'static str, (&'static str, Answering)>,
}

impl Requests {
    /// Adds a request with a sentence about it; a later one of the same name takes the place of the earlier.
    pub fn add(
        &mut self,
        name: &'static str,
        purpose: &'static str,
        answering: impl Fn(&Map<String, Value>) -> Result<Map<String, Value>, String> + Send + Sync + 'static,
    ) {
        self.entries.insert(name, (purpose, Box::new(answering)));
    }

    /// Names and purposes.
    fn listed(&self) -> Value {
        self.entries
            .iter()
            .map(|(name, (purpose, _))| ((*name).to_owned(), json!(purpose)))
            .collect::<Map<_, _>>()
            .into()
    }

    fn call(&self, line: &[u8]) -> Result<Map<String, Value>, String> {
        let request: Value = serde_json::from_slice(line)
            .map_err(|e| format!("not JSON ({e}); send one object a line, such as {{\"request\":\"status\"}}"))?;
        let Value::Object(fields) = request else {
            return Err("not an object; send one a line, such as {\"request\":\"status\"}".to_owned());
        };
        let Some(name) = fields.get("request").and_then(Value::as_str) else {
            return Err("the text field \"request\" is missing; \"help\" lists what there is".to_owned());
        };
        if name == "help" {
            return Ok(Map::from_iter([("requests".to_owned(), self.listed())]));
        }
        let Some((_, answering)) = self.entries.get(name) else {
            let meant = nearest(name, self.entries.keys().copied());
            let meant =
                meant.map_or("\"help\" lists what there is".to_owned(), |meant| format!("did you mean \"{meant}\"?"));
            return Err(format!("{name:.64?}: no such request; {meant}"));
        };
        // A client must not take the socket away from others.
        catch_unwind(AssertUnwindSafe(|| answering(&fields)))
            .unwrap_or_else(|_| Err("the request failed inside millstream; this is our own fault".to_owned()))
    }
}

/// The answer to a line, with the line's end.
#[must_use]
pub fn answer(requests: &Requests, line: &[u8]) -> Vec<u8> {
    let document = match requests.call(line) {
        Ok(fields) => {
            let mut answer = Map::from_iter([("ok".to_owned(), json!(true))]);
            answer.extend(fields);
            Value::Object(answer)
        }
        Err(error) => json!({ "ok": false, "error": error }),
    };
    let mut text = document.to_string().into_bytes();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::{Requests, answer};
    use proptest::prelude::{ProptestConfig, any, prop, proptest};
    use serde_json::{Map, Value, json};

    fn requests() -> Requests {
        let mut requests = Requests::default();
        requests.add("echo", "says the same", |fields| Ok(Map::from_iter([("said".to_owned(), json!(fields))])));
        requests.add("refuse", "says no", |_| Err("no".to_owned()));
        requests.add("status", "breaks", |_| panic!("broken"));
        requests
    }

    fn said(line: &str) -> Value {
        let answer = answer(&requests(), line.as_bytes());
        assert_eq!(answer.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&answer).unwrap()
    }

    #[test]
    fn a_line_has_an_answer_that_says_what_was_wrong() {
        assert_eq!(said(r#"{"request":"echo","x":"a\nb"}"#)["said"]["x"], "a\nb");
        assert_eq!(said(r#"{"request":"refuse"}"#), json!({ "ok": false, "error": "no" }));
        assert_eq!(said(r#"{"request":"help"}"#)["requests"]["echo"], "says the same");
        for (line, expected) in [
            (r#"{"request":"stats"}"#, "\"stats\": no such request; did you mean \"status\"?"),
            (r#"{"request":"x"}"#, "\"x\": no such request; \"help\" lists what there is"),
            (r#"{"request":1}"#, "the text field \"request\" is missing; \"help\" lists what there is"),
            ("[]", "not an object; send one a line, such as {\"request\":\"status\"}"),
        ] {
            assert_eq!(said(line)["error"], expected, "{line}");
        }
        assert!(said("{").get("error").unwrap().as_str().unwrap().starts_with("not JSON ("));
        assert!(said("").get("error").is_some());
        assert!(said(&"[".repeat(60_000)).get("error").is_some());
    }

    #[test]
    fn a_request_that_breaks_is_answered() {
        assert_eq!(said(r#"{"request":"status"}"#)["ok"], false);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn any_bytes_have_one_line_of_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let answer = answer(&requests(), &bytes);
            let document: Value = serde_json::from_slice(&answer).unwrap();
            assert!(document["ok"].is_boolean());
        }
    }
}
