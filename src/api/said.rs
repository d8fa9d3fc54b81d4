//! How much a VM may say about one batch of packets.

use std::cell::Cell;

use mlua::Lua;

/// Most of it.
const MAX_BYTES: usize = 64 << 20;
/// What each record counts besides its texts.
const RECORD_COST: usize = 128;
/// Calls that are looked at for the line of a script.
const MAX_FRAMES: usize = 16;

/// Whether a VM has said too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Overrun {
    #[default]
    Never,
    /// Nobody was told of it so far.
    Untold,
    Told,
}

/// What a VM has said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// In which round of records handed on, and how much since.
    since: Cell<(u64, usize)>,
    overrun: Cell<Overrun>,
}

impl Said {
    /// Whether so many records with texts of so many bytes fit beside the others of the round, which they are part of then.
    pub(super) fn has_room(&self, round: u64, records: usize, bytes: usize) -> bool {
        let cost = bytes.saturating_add(records * RECORD_COST);
        let (since, said) = self.since.get();
        let sum = if since == round { said.saturating_add(cost) } else { cost };
        if sum <= MAX_BYTES {
            self.since.set((round, sum));
            return true;
        }
        if self.overrun.get() == Overrun::Never {
            self.overrun.set(Overrun::Untold);
        }
        false
    }

    /// Whether there was no room, which nobody was told of so far.
    #[inline]
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun.get() == Overrun::Untold
    }

    /// What is told of it, with the line of the script that is running.
    pub(super) fn overrun(&self, lua: Option<&Lua>) -> String {
        self.overrun.set(Overrun::Told);
        let place = lua.and_then(place_of).map(|place| format!("{place}: ")).unwrap_or_default();
        format!(
            "{place}more than {} MiB said about one batch of packets; the rest is dropped (records_dropped)",
            MAX_BYTES >> 20
        )
    }
}

/// The line of a script that is running, with the name of its file.
fn place_of(lua: &Lua) -> Option<String> {
    (1..MAX_FRAMES).find_map(|level| {
        let place = lua.inspect_stack(level, |frame| {
            let source = frame.source().source?.into_owned();
            let path = source.strip_prefix('@').filter(|path| !path.starts_with("<millstream>"))?;
            Some(format!("{}:{}", path.rsplit('/').next().unwrap_or(path), frame.current_line()?))
        });
        place.flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, RECORD_COST, Said};

    #[test]
    fn records_without_texts_have_a_cost_and_each_round_has_room_of_its_own() {
        let said = Said::default();
        let most = MAX_BYTES / RECORD_COST;
        assert!((0..most).all(|_| said.has_room(0, 1, 0)));
        assert!(!said.is_overrun());
        assert!(!said.has_room(0, 1, 0) && said.is_overrun());
        assert!(said.has_room(1, most, 0) && !said.has_room(1, 0, 1));
        assert!(!said.has_room(2, 1, usize::MAX) && said.has_room(2, 1, 1));
        assert!(said.overrun(None).starts_with("more than 64 MiB said"));
        assert!(!said.has_room(2, 1, MAX_BYTES) && !said.is_overrun(), "told once");
    }
}
