//! Jobs whose script is gone: their ends are told of here, as those of others are where they are delivered.

use crate::api::{Rank, Record, ScriptId, Side, Stamp};
use crate::job::{JobKind, Pool};
use crate::pipeline::Outlet;
use crate::time::Timestamp;

/// How such a job ended.
const ORPHANED: &str = "orphaned";

/// Tells of the jobs that have ended as orphaned since the last time; `pools` has one place for each script.
pub fn tell_orphans(pools: &[Pool], time: Timestamp, outlet: &mut Outlet) {
    let mut records = Vec::new();
    for (place, pool) in pools.iter().enumerate() {
        let mut orphans = pool.take_orphans();
        orphans.sort_by_key(|orphan| orphan.id);
        for orphan in orphans {
            let function = if orphan.kind == JobKind::Schedule { orphan.function.to_string() } else { String::new() };
            let (kind, attempt) = (orphan.kind.name(), u32::from(orphan.attempts.max(1)));
            let record = Record::Job { id: orphan.id.to_string(), state: ORPHANED, kind, function, attempt };
            let script = ScriptId(place as u16);
            let stamp = Stamp { packet: u32::MAX, rank: Rank::default(), time, script, side: Side::Async };
            records.push((stamp, record));
        }
    }
    if !records.is_empty() {
        outlet.take(&mut records);
        outlet.flush();
    }
}
