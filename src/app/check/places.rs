//! Where in a plugin's text the fields of its tables are set.

use crate::lua::Tokens;

/// The line at which a field is set, searched along a path such as `countergroup.control.guid`, each name behind the
/// one before; the line of the last name that was found, else of the plugin's table.
#[must_use]
pub fn line_of_field(tokens: &Tokens, path: &[&str]) -> u32 {
    let plugin = find_name(tokens, "TrisulPlugin").unwrap_or(0);
    let (mut line, mut from) = (tokens.line(plugin), 0);
    for name in path {
        match find_set(tokens, from, name) {
            Some(at) => (line, from) = (tokens.line(at), at + 1),
            None => break,
        }
    }
    line
}

fn find_name(tokens: &Tokens, name: &str) -> Option<usize> {
    (0..tokens.len()).find(|&at| tokens.name(at) == Some(name))
}

/// `name =`, `["name"] =` or `function x.name(`.
fn find_set(tokens: &Tokens, from: usize, name: &str) -> Option<usize> {
    (from..tokens.len()).find(|&at| {
        let plain = tokens.name(at) == Some(name) && (tokens.is(at + 1, "=") || tokens.is(at + 1, "("));
        let quoted = tokens.text(at) == Some(name.as_bytes()) && tokens.is(at + 1, "]") && tokens.is(at + 2, "=");
        plain || quoted
    })
}

#[cfg(test)]
mod tests {
    use super::line_of_field;
    use crate::lua::Tokens;

    #[test]
    fn fields_are_found_along_their_path() {
        let tokens = Tokens::of(
            b"local guid = 1\nTrisulPlugin = {\n  id = { name = 'x' },\n  countergroup = {\n    control = {\n      guid = 2,\n",
        );
        assert_eq!(line_of_field(&tokens, &["countergroup", "control", "guid"]), 6);
        assert_eq!(line_of_field(&tokens, &["countergroup", "control", "name"]), 5);
        assert_eq!(line_of_field(&tokens, &["alertgroup"]), 2);
    }
}
