//! Why there was no room for a job.

use std::fmt;

use super::model::JobId;

/// Why a job was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// This many jobs are pending already.
    Jobs(usize),
    /// Pending jobs hold this many bytes already.
    Bytes(usize),
    /// Jobs on the disk hold this many bytes already.
    Disk(usize),
    /// What was put on the disk before is still on its way there.
    DiskSlow,
    /// The disk would not take it.
    DiskFailed,
    /// Nothing is put on the disk any more.
    DiskClosed,
}

/// A job that was dropped: counted as scheduled and as dropped, without a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Rejected {
    /// The job.
    pub id: JobId,
    /// Which limit it ran into.
    pub overflow: Overflow,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.overflow {
            Overflow::Jobs(limit) => write!(f, "job {} dropped: {limit} jobs are pending", self.id),
            Overflow::Bytes(limit) => write!(f, "job {} dropped: pending jobs hold {limit} bytes", self.id),
            Overflow::Disk(limit) => write!(f, "job {} dropped: {limit} bytes of jobs are on the disk", self.id),
            Overflow::DiskSlow => write!(f, "job {} dropped: the disk does not keep up", self.id),
            Overflow::DiskFailed => write!(f, "job {} dropped: the disk did not take it", self.id),
            Overflow::DiskClosed => write!(f, "job {} dropped: nothing is put on the disk any more", self.id),
        }
    }
}
