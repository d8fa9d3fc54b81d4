//! An entry of the reference, and the object it belongs to.

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Called with a colon on an object.
    Method,
    /// In a table.
    Function,
    /// A value in a table.
    Field,
    /// A number that never changes.
    Constant,
    /// Defined by a script and called by the host.
    Callback,
}

impl EntryKind {
    /// The kind by the character that an entry begins with in the texts.
    pub(super) fn of_mark(mark: char) -> Option<Self> {
        Some(match mark {
            ':' => Self::Method,
            '.' => Self::Function,
            '-' => Self::Field,
            '#' => Self::Constant,
            '>' => Self::Callback,
            _ => return None,
        })
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Function => "function",
            Self::Field => "field",
            Self::Constant => "constant",
            Self::Callback => "callback",
        }
    }
}

/// Where a name comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The Trisul LUA API.
    Published,
    /// The Trisul LUA API, in an older form.
    Legacy,
    /// Here only.
    Extension,
}

/// A name of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The object, table or block it belongs to.
    pub owner: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What follows the name: parameters and results, a type, a value.
    pub shape: &'static str,
    /// Letters of the places where it is available: F, B, W (workers).
    pub sides: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// What it does.
    pub doc: &'static str,
    /// An example, indented as in the texts; empty if there is none.
    pub example: &'static str,
}

impl Entry {
    /// Owner and name, as they are written in a script.
    #[must_use]
    pub fn path(&self) -> String {
        let joint = if self.kind == EntryKind::Method { ':' } else { '.' };
        format!("{}{joint}{}", self.owner, self.name)
    }

    /// Owner, name and shape.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}{}", self.path(), self.shape)
    }

    /// The places where it is available, in words.
    #[must_use]
    pub fn places(&self) -> String {
        let places = [('F', "frontend"), ('B', "backend"), ('W', "workers")];
        let there: Vec<&str> =
            places.iter().filter(|(letter, _)| self.sides.contains(*letter)).map(|(_, name)| *name).collect();
        there.join(", ")
    }

    /// What to know about where it comes from; empty for what is published.
    #[must_use]
    pub fn remark(&self) -> &'static str {
        match self.origin {
            Origin::Published => "",
            Origin::Legacy => "older form",
            Origin::Extension => "millstream only",
        }
    }
}

/// An object, table or block with its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// An example, indented as in the texts; empty if there is none.
    pub example: &'static str,
    /// Its names, in the order of the texts.
    pub entries: Vec<Entry>,
}
