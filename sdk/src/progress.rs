//! Progress for people and checkpoints for the next attempt.
//!
//! ```
//! use orchestrator_sdk::progress::{self, Measure};
//! let outside = orchestrator_sdk::testing::Outside::new();
//! progress::report(&[Measure::of("objects", 3, 10), Measure::counted("bytes", 4096)], Some("copying"));
//! assert_eq!(outside.progress().last().unwrap().measures[0].total, Some(10));
//! ```

use serde::Serialize;

use crate::{Error, outside};

/// How far one unit of work has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// `objects`, `bytes`, …
    pub unit: String,
    /// So many are done.
    pub done: u64,
    /// Of so many, if known.
    pub total: Option<u64>,
}

impl Measure {
    /// So many done of so many.
    pub fn of(unit: &str, done: u64, total: u64) -> Self {
        Self { unit: unit.to_owned(), done, total: Some(total) }
    }

    /// So many done, of a number that is not known.
    pub fn counted(unit: &str, done: u64) -> Self {
        Self { unit: unit.to_owned(), done, total: None }
    }
}

/// Shows progress. Not durable; only the newest is kept, and it may be shown with a delay of up to 100 ms.
pub fn report(measures: &[Measure], note: Option<&str>) {
    outside::report(measures.to_vec(), note.map(str::to_owned));
}

/// Why the host did not store a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointError {
    /// Not JSON, or over 256 KiB.
    Invalid(String),
    /// The store could not take it; the previous one stands.
    Unavailable(String),
}

/// Stores a state that the next attempt of this task receives; at most 256 KiB of JSON. Durable on return.
///
/// # Errors
/// Permanent when the state is too large or not JSON; transient when the store could not take it.
pub fn checkpoint<T: Serialize + ?Sized>(state: &T) -> Result<(), Error> {
    let state = serde_json::to_string(state).map_err(|e| Error::permanent(format!("write the checkpoint: {e}")))?;
    outside::checkpoint(state).map_err(|error| match error {
        CheckpointError::Invalid(detail) => Error::permanent(format!("store the checkpoint: {detail}")),
        CheckpointError::Unavailable(detail) => Error::transient(format!("store the checkpoint: {detail}")),
    })
}
