//! `delete-source-objects`: removes from the source what the destination is proved to have. The proof is made here
//! and now, whatever ran before, so that this action is safe by itself: an object that appeared or changed since
//! stays.

use orchestrator_sdk::{Error, log};

use crate::compare::Verdicts;
use crate::input::Buckets;
use crate::plan;
use crate::removal::{Output, Removal};
use crate::wire::{Side, Wire};

/// Deletes. Safe to repeat: what is gone is no longer listed.
///
/// # Errors
/// When one of the ends cannot be read, or the source refuses the deletion as such.
pub fn delete<W: Wire>(wire: &W, input: &Buckets) -> Result<Output, Error> {
    plan::refuse_same_bucket(wire, input)?;
    let mut removal = Removal::new(wire, input, Side::Source);
    for found in Verdicts::new(wire, input, None) {
        let (object, verdict) = found?;
        if verdict.is_same() {
            removal.push(object)?;
        } else {
            log::warn!("`{}` stays at the source: {verdict:?}", object.key);
            removal.keep();
        }
    }
    removal.finish()
}
