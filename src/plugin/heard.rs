//! The attributes of flows that callbacks hear of: all, or those a block names in `attribute_names`.

use crate::dissect::AttributeKinds;

/// Names of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// Whatever there is.
    All,
    /// These alone.
    Named(Vec<Box<[u8]>>),
}

impl Attributes {
    /// None at all.
    #[must_use]
    pub const fn none() -> Self {
        Self::Named(Vec::new())
    }

    /// Whether an attribute is among them.
    #[inline]
    #[must_use]
    pub fn has(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|other| **other == *name),
        }
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Named(names), Self::Named(more)) => {
                for name in more {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
            }
        }
    }

    /// The kinds that they are of.
    #[must_use]
    pub fn kinds(&self) -> AttributeKinds {
        match self {
            Self::All => AttributeKinds::ALL,
            Self::Named(names) => {
                names.iter().fold(AttributeKinds::NONE, |kinds, name| kinds | AttributeKinds::of_name(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AttributeKinds, Attributes};

    #[test]
    fn what_several_hear_of_is_what_any_of_them_names() {
        let named = |names: &[&str]| Attributes::Named(names.iter().map(|name| name.as_bytes().into()).collect());
        let mut heard = Attributes::none();
        assert!(!heard.has(b"Host"));
        heard.add(&named(&["Host", "URI"]));
        heard.add(&named(&["URI", "TLS:SNI"]));
        assert_eq!(heard, named(&["Host", "URI", "TLS:SNI"]));
        assert_eq!(heard.kinds(), AttributeKinds::HTTP | AttributeKinds::TLS);
        heard.add(&Attributes::All);
        heard.add(&named(&["Host"]));
        assert!(heard.has(b"anything") && heard.kinds() == AttributeKinds::ALL);
    }
}
