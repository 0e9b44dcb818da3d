//! `verify`: proves, object by object, that the destination has what the source has. Changes nothing.

use orchestrator_sdk::Error;
use serde::{Deserialize, Serialize};

use crate::compare::{Verdict, Verdicts};
use crate::input::Buckets;
use crate::wire::Wire;

/// Differences that are listed; more are counted.
const LISTED_MAX: usize = 100;

/// Bytes of keys that are listed, so that a checkpoint stays within its limit with the longest keys, too.
const LISTED_BYTES_MAX: usize = 24 * 1024;

/// A checkpoint after so many objects or bytes read.
const CHECKPOINT_OBJECTS: u64 = 1_000;
const CHECKPOINT_BYTES: u64 = 256 * 1024 * 1024;

/// One object that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its key.
    pub key: String,
    /// What is wrong.
    pub reason: Verdict,
}

/// What was proved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Objects of the source.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects proved the same by their entity tags.
    pub by_etag: u64,
    /// Objects proved the same by comparing all bytes.
    pub by_content: u64,
    /// How many objects are not the same.
    pub difference_count: u64,
    /// The first 100 of them.
    pub differences: Vec<Difference>,
}

/// What the next attempt needs to go on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    after: Option<String>,
    found: Output,
}

/// Verifies; `checkpoint` is what an earlier attempt left.
///
/// # Errors
/// When one of the ends cannot be read. Differences are no error but a finding.
pub fn verify<W: Wire>(wire: &W, input: &Buckets, checkpoint: Option<Checkpoint>) -> Result<Output, Error> {
    let mut state = checkpoint.unwrap_or_default();
    let mut unsaved = (0, 0);
    for found in Verdicts::new(wire, input, state.after.clone().as_deref()) {
        let (object, verdict) = found?;
        unsaved = (unsaved.0 + 1, unsaved.1 + if verdict == Verdict::SameByContent { object.size } else { 0 });
        state.after = Some(object.key.clone());
        state.found.note(object.key, object.size, verdict);
        wire.report(&input.measures(state.found.objects, state.found.bytes));
        if unsaved.0 >= CHECKPOINT_OBJECTS || unsaved.1 >= CHECKPOINT_BYTES {
            unsaved = (0, 0);
            wire.checkpoint(&state)?;
        }
    }
    Ok(state.found)
}

impl Output {
    fn note(&mut self, key: String, size: u64, verdict: Verdict) {
        self.objects += 1;
        self.bytes += size;
        match verdict {
            Verdict::SameByEtag => self.by_etag += 1,
            Verdict::SameByContent => self.by_content += 1,
            reason => self.differs(Difference { key, reason }),
        }
    }

    fn differs(&mut self, difference: Difference) {
        self.difference_count += 1;
        let listed: usize = self.differences.iter().map(|listed| listed.key.len()).sum();
        if self.differences.len() < LISTED_MAX && listed + difference.key.len() <= LISTED_BYTES_MAX {
            self.differences.push(difference);
        }
    }
}
