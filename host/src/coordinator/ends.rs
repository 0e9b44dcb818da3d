//! How many instances ended how since the server was started.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine::record::End;

/// Counted while instances end.
#[derive(Debug, Default)]
pub(super) struct Ends {
    completed: AtomicU64,
    faulted: AtomicU64,
    cancelled: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndCounts {
    /// With an output.
    pub completed: u64,
    /// With an error.
    pub faulted: u64,
    /// Because somebody asked for it.
    pub cancelled: u64,
}

impl Ends {
    /// Counts an end.
    pub(super) fn count(&self, end: &End) {
        let count = match end {
            End::Completed { .. } => &self.completed,
            End::Faulted { .. } => &self.faulted,
            End::Cancelled => &self.cancelled,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub(super) fn counts(&self) -> EndCounts {
        EndCounts {
            completed: self.completed.load(Ordering::Relaxed),
            faulted: self.faulted.load(Ordering::Relaxed),
            cancelled: self.cancelled.load(Ordering::Relaxed),
        }
    }
}

impl EndCounts {
    /// All ends.
    pub fn total(self) -> u64 {
        self.completed + self.faulted + self.cancelled
    }
}
