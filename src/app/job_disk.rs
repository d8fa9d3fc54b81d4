//! Jobs for which there is no room go to a file beside the store.

use std::sync::Arc;

use crate::job::{
    Attached, LeftJob, PutJob, SpillAnswer, SpillFate, SpillPace, SpillRefused, SpillReturns, SpillStore,
};
use crate::sink::spill::{Put, PutRefused, SpillFile, Taken, WhenSlow};

/// The file beside a store, as the engine of jobs knows it.
#[derive(Debug)]
pub struct JobDisk(SpillFile);

impl JobDisk {
    /// Of a run with this store.
    #[must_use]
    pub fn beside(store: &std::path::Path) -> Arc<dyn SpillStore> {
        Arc::new(Self(SpillFile::beside(store)))
    }
}

impl SpillStore for JobDisk {
    fn attach(&self, plugin: &str, block: &str, returns: Arc<SpillReturns>) -> Result<Attached, String> {
        let answer = move |place, taken| {
            let answer = match taken {
                Taken::Bytes(bytes) => SpillAnswer::Job(bytes),
                Taken::Unwritten(why) => SpillAnswer::Unwritten(why),
                Taken::Unread(why) => SpillAnswer::Unread(why),
            };
            returns.give(place, answer);
        };
        let (owner, left) = self.0.attach(plugin, block, Box::new(answer))?;
        let left = left.into_iter().map(|(place, size, function)| LeftJob { place, size, function }).collect();
        Ok(Attached { owner, left })
    }

    fn put(&self, owner: u64, job: PutJob, pace: SpillPace) -> Result<u64, SpillRefused> {
        let PutJob { bytes, function, fate } = job;
        let put = Put { bytes, label: function.to_string(), survives: fate == SpillFate::Survives };
        let when_slow = if pace == SpillPace::Wait { WhenSlow::Wait } else { WhenSlow::Refuse };
        self.0.put(owner, put, when_slow).map_err(|refused| match refused {
            PutRefused::Slow => SpillRefused::Slow,
            PutRefused::Closed => SpillRefused::Closed,
        })
    }

    fn fetch(&self, owner: u64, places: Vec<u64>) {
        self.0.fetch(owner, places);
    }

    fn discard(&self, place: u64) {
        self.0.discard(place);
    }

    fn release(&self, owner: u64) {
        self.0.release(owner);
    }
}
