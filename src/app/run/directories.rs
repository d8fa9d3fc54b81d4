//! The directories that scripts take for granted. A directory is made when a script, or a library of it, names it; a run
//! whose scripts name none leaves nothing behind.

use std::fs;
use std::path::PathBuf;

use crate::api::t_env::ConfigPaths;
use crate::plugin::Catalog;

/// What a script asks for, the setting it gets, and what must exist below that.
const TAKEN_FOR_GRANTED: [(&[&str], &str, &str); 3] = [
    (&["App>DBRoot", "App/DBRoot", "get_configpath"], "App>DBRoot", "config"),
    (&["App>DataDirectory", "App/DataDirectory", "get_datapath"], "App>DataDirectory", "plugins"),
    (&["App>RunStateDirectory", "App/RunStateDirectory"], "App>RunStateDirectory", ""),
];

/// Makes what the scripts name. What cannot be made is for the script to notice, which knows whether it matters.
pub fn make(catalog: &Catalog, config: &ConfigPaths) {
    for (words, setting, below) in TAKEN_FOR_GRANTED {
        let root = config.get(setting);
        if !root.is_empty() && words.iter().any(|word| catalog.entries.iter().any(|entry| entry.mentions(word))) {
            let _ = fs::create_dir_all(PathBuf::from(root).join(below));
        }
    }
}
