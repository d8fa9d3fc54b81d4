//! A change of the scripts while a run goes on, the same for every thread.

use std::sync::Arc;

use super::catalog::{Catalog, CatalogEntry};
use super::instance::PluginFile;
use super::settings::HostSettings;
use crate::api::ScriptId;
use crate::job::Pool;

/// All scripts as they are after one of them has changed.
#[derive(Clone, Debug)]
pub struct Edition {
    /// The files; groups and protocols are those of the start.
    pub catalog: Arc<Catalog>,
    /// The order of the scripts: new ones have later numbers, wherever they stand.
    pub places: Arc<[ScriptId]>,
    /// The one that is new, changed, or gone.
    pub script: ScriptId,
    /// One pool per script.
    pub pools: Arc<[Pool]>,
}

impl Edition {
    /// The script that has changed.
    #[must_use]
    pub fn entry(&self) -> Option<&CatalogEntry> {
        self.catalog.entries.get(usize::from(self.script.0))
    }

    /// Its file; without blocks if it is gone.
    #[must_use]
    pub fn file(&self, settings: &HostSettings) -> Option<PluginFile> {
        self.entry().map(|entry| entry.plugin_file(settings))
    }

    /// Where a script stands in the order.
    #[must_use]
    pub fn place(&self, script: ScriptId) -> usize {
        self.places.iter().position(|&placed| placed == script).unwrap_or(self.places.len())
    }
}
