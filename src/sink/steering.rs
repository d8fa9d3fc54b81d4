//! What comes from traffic, scripts and files must not steer the terminal on which it is shown.

/// Control characters, and those that have no width or change the direction of the text around them.
#[must_use]
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Text that may quote anything, on the lines it has, with blanks for what steers. Bytes that are no UTF-8 are shown as the
/// replacement character.
#[must_use]
pub fn harmless(text: &[u8]) -> String {
    let shown = |c| if steers(c) && c != '\n' && c != '\t' { ' ' } else { c };
    String::from_utf8_lossy(text).chars().map(shown).collect()
}
