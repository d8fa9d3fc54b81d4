//! What was decided about pipelines of scripts, which holds for later runs.

use std::path::Path;

use rusqlite::params;

use super::open;

/// A pipeline that is not as its script says: plugin, name, state.
pub type PipelineState = (String, String, String);

/// The pipelines that something was decided about.
///
/// # Errors
/// When the store cannot be read.
pub fn pipeline_states(file: &Path) -> rusqlite::Result<Vec<PipelineState>> {
    let db = open::connect(file)?;
    let mut select = db.prepare("SELECT plugin, name, state FROM pipelines ORDER BY plugin, name")?;
    let states = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    states.collect()
}

/// Keeps what was decided about a pipeline; without a state it is again as its script says. Waits for the writer's
/// transaction, five seconds.
///
/// # Errors
/// When the store cannot be written.
pub fn keep_pipeline_state(file: &Path, plugin: &str, name: &str, state: Option<&str>) -> rusqlite::Result<()> {
    let db = open::connect(file)?;
    match state {
        Some(state) => db.execute(
            "INSERT INTO pipelines(plugin, name, state) VALUES(?1, ?2, ?3)
             ON CONFLICT(plugin, name) DO UPDATE SET state = excluded.state",
            params![plugin, name, state],
        )?,
        None => db.execute("DELETE FROM pipelines WHERE plugin = ?1 AND name = ?2", params![plugin, name])?,
    };
    Ok(())
}
