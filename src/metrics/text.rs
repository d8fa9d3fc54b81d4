//! How much of the texts of scripts is kept.

/// Longest text of an alert, a resource, an attribute, a label, a description or a printed line.
pub const MAX_TEXT_BYTES: usize = 32_767;

/// A text as far as it is kept.
#[must_use]
pub fn cut_text(text: &[u8]) -> &[u8] {
    &text[..text.len().min(MAX_TEXT_BYTES)]
}
