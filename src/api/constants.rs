//! `T.K`: log levels and vartypes by name.

use std::rc::Rc;

use mlua::{Lua, Table};

/// Severity of a log record, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LogLevel {
    /// The system is unusable.
    Emerg = 0,
    /// The process cannot go on.
    Fatal = 1,
    /// Somebody must act now.
    Alert = 2,
    /// A critical condition.
    Crit = 3,
    /// Something failed.
    Error = 4,
    /// Something looks wrong.
    Warn = 5,
    /// Normal, but worth seeing.
    Notice = 6,
    /// Information.
    Info = 7,
    /// Detail for debugging.
    Debug = 8,
}

impl LogLevel {
    /// All levels with the names plugins use.
    pub const ALL: [(&'static str, Self); 9] = [
        ("EMERG", Self::Emerg),
        ("FATAL", Self::Fatal),
        ("ALERT", Self::Alert),
        ("CRIT", Self::Crit),
        ("ERROR", Self::Error),
        ("WARN", Self::Warn),
        ("NOTICE", Self::Notice),
        ("INFO", Self::Info),
        ("DEBUG", Self::Debug),
    ];

    /// The level a plugin gave as a number; an unknown one is DEBUG.
    #[must_use]
    pub fn from_number(number: f64) -> Self {
        Self::ALL.iter().find(|(_, level)| f64::from(*level as u8) == number).map_or(Self::Debug, |(_, level)| *level)
    }

    /// The name in `T.K.loglevel`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// Where API objects report what went wrong; the receiver adds the plugin's name and the time.
pub type LogFn = Rc<dyn Fn(LogLevel, &[u8])>;

/// The vartypes by the names and numbers of `T.K.vartype`.
pub const VARTYPES: [(&str, i32); 8] = [
    ("COUNTER", 2),
    ("RATE_COUNTER", 4),
    ("GAUGE", 5),
    ("RUNNING_COUNTER", 8),
    ("AVERAGE", 9),
    ("DELTA_RATE_COUNTER", 10),
    ("MAXIMUM", 11),
    ("MINIMUM", 12),
];

/// Installs `loglevel`, `vartype` and its alias `vartypes` into `constants`, the table `T.K`.
///
/// # Errors
/// When the VM runs out of memory.
pub fn install(lua: &Lua, constants: &Table) -> mlua::Result<()> {
    let levels = lua.create_table()?;
    for (name, level) in LogLevel::ALL {
        levels.raw_set(name, level as u8)?;
    }
    let vartypes = lua.create_table()?;
    for (name, number) in VARTYPES {
        vartypes.raw_set(name, number)?;
    }
    constants.raw_set("loglevel", levels)?;
    constants.raw_set("vartype", &vartypes)?;
    constants.raw_set("vartypes", vartypes)
}

#[cfg(test)]
mod tests {
    use super::LogLevel;

    #[test]
    fn numbers_and_names_agree() {
        for (number, (name, level)) in LogLevel::ALL.iter().enumerate() {
            assert_eq!(LogLevel::from_number(number as f64), *level);
            assert_eq!(level.name(), *name);
        }
    }

    #[test]
    fn unknown_levels_are_debug() {
        for number in [-1.0, 9.0, 4.5, f64::NAN, f64::INFINITY] {
            assert_eq!(LogLevel::from_number(number), LogLevel::Debug);
        }
    }
}
