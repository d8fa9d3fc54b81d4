//! What the plugin host is told from outside: limits, budgets, places, identities.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::perseverance::Hanging;
use super::underway::Loads;
use super::whereabouts::Whereabouts;
use crate::api::RunIdentity;
use crate::api::modules::Libraries;
use crate::content::FileRules;
use crate::job::{Answers, JobLimits};
use crate::lua::{Budget, Profiler};

/// What is done about a script that is stuck.
pub type OnStuck = Arc<dyn Fn(&Whereabouts<'_>) + Send + Sync>;
/// What is done about a script that takes long.
pub type OnLate = Arc<dyn Fn(&Whereabouts<'_>, Option<Duration>) + Send + Sync>;

/// Settings of the plugin host; shared by all engines.
#[derive(Clone)]
pub struct HostSettings {
    /// Bytes a frontend VM may hold.
    pub memory_limit: usize,
    /// Bytes a worker's VM may hold.
    pub worker_memory_limit: usize,
    /// Time for a frontend callback.
    pub frontend_budget: Budget,
    /// Time for a backend callback.
    pub backend_budget: Budget,
    /// Time for running a file and for `onload`.
    pub load_budget: Budget,
    /// Time for a job.
    pub job_budget: Option<Duration>,
    /// How much jobs may take.
    pub jobs: JobLimits,
    /// What `T` says about the run.
    pub run: RunIdentity,
    /// Directories searched for plugins and libraries.
    pub search: Vec<PathBuf>,
    /// Packets are NetFlow exports: only `flow_counter` scripts count.
    pub netflow_tap: NetflowTap,
    /// How files are extracted from HTTP; `None` if that is off.
    pub files: Option<FileRules>,
    /// What records the answers of jobs, or gives them; usually nothing.
    pub answers: Option<Arc<Answers>>,
    /// What looks on while scripts run; usually nothing.
    pub profiler: Option<Arc<Profiler>>,
    /// Numbers of VMs given out so far.
    pub context_ids: Arc<AtomicU32>,
    /// The files that scripts read with `require`.
    pub libraries: Libraries,
    /// The process ends with the run: what VMs hold then is left to the system.
    pub leaves_memory: bool,
    /// Seed of the instance ids.
    pub seed: u64,
    /// What is done about a script that was interrupted and does not return from a C function: it gets where
    /// that is, on the watchdog's thread.
    pub on_stuck: OnStuck,
    /// What is done about a file that takes long to load, or has a callback that was interrupted and does not return, on the
    /// same thread; it gets where the script is, and the time there is for that.
    pub on_late: OnLate,
    /// The scripts that have been loaded for long.
    pub loads: Loads,
    /// Files that were given up and have not come back.
    pub hanging: Hanging,
}

/// How long after its interruption a callback counts as stuck inside C.
pub const STUCK_AFTER: Duration = Duration::from_secs(9);
/// The same for a file that is only looked at: nothing is lost by leaving its thread behind.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

impl std::fmt::Debug for HostSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostSettings").field("memory_limit", &self.memory_limit).finish_non_exhaustive()
    }
}

/// Whether packets are NetFlow exports (`App>TrisulMode` is `NETFLOW_TAP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetflowTap {
    /// Ordinary packets.
    Off,
    /// NetFlow exports.
    On,
}

impl HostSettings {
    /// Whether the configuration leaves edges on.
    #[must_use]
    pub fn wants_edges(&self) -> bool {
        !self.run.environment.config.get("Edges>Enabled").eq_ignore_ascii_case("false")
    }

    /// A number for a new VM, unique in the process.
    #[must_use]
    pub fn next_context_id(&self) -> u32 {
        self.context_ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// `engine:instanceid()` of a frontend VM: seven upper-case hex digits, fixed for the VM.
    #[must_use]
    pub fn instance_id(&self, contextid: u32) -> String {
        // SplitMix64: a bijection, so that different VMs of one run get different ids before the cut.
        let mut z = self.seed.wrapping_add(u64::from(contextid).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        format!("{:07X}", (z >> 36) & 0xFFF_FFFF)
    }
}
