//! File names in lines that are meant to be typed next.

use std::path::Path;

/// A file name as one word of a command, in quotes where a shell would make something else of it.
#[must_use]
pub fn typed(path: &Path) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-+,:=@%".contains(&byte);
    let name = path.display().to_string();
    if !name.is_empty() && name.bytes().all(is_plain) { name } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::typed;
    use std::path::Path;

    #[test]
    fn a_file_name_is_one_word_for_the_shell() {
        assert_eq!(typed(Path::new("/a/b-1.db")), "/a/b-1.db");
        assert_eq!(typed(Path::new("/a b/it's $x.db")), "'/a b/it'\\''s $x.db'");
        assert_eq!(typed(Path::new("")), "''");
    }
}
