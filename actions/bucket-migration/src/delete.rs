//! `delete-source-objects`: removes from the source what the destination is proved to have. The proof is made here
//! and now, whatever ran before, so that this action is safe by itself: an object that appeared or changed since
//! stays.

use orchestrator_sdk::{Error, log};
use serde::{Deserialize, Serialize};

use crate::compare::Verdicts;
use crate::input::Buckets;
use crate::plan;
use crate::s3::{self, Object, Trouble};
use crate::wire::{Side, Wire};
use crate::xml;

/// Objects in one batch; the protocol allows 1,000. Smaller ones keep the time between proof and deletion short.
const BATCH_MAX: usize = 250;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Objects removed by this call.
    pub deleted: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that stay, because the destination does not have the same, or the server kept them.
    pub kept: u64,
}

/// Deletes. Safe to repeat: what is gone is no longer listed.
///
/// # Errors
/// When one of the ends cannot be read, or the source refuses the deletion as such.
pub fn delete<W: Wire>(wire: &W, input: &Buckets) -> Result<Output, Error> {
    plan::refuse_same_bucket(wire, input)?;
    let mut output = Output::default();
    let mut batch: Vec<Object> = Vec::new();
    for found in Verdicts::new(wire, input, None) {
        let (object, verdict) = found?;
        if !verdict.is_same() {
            output.kept += 1;
            log::warn!("`{}` stays at the source: {verdict:?}", object.key);
            continue;
        }
        batch.push(object);
        if batch.len() == BATCH_MAX {
            send(wire, input, &mut batch, &mut output)?;
        }
    }
    send(wire, input, &mut batch, &mut output)?;
    Ok(output)
}

fn send<W: Wire>(wire: &W, input: &Buckets, batch: &mut Vec<Object>, output: &mut Output) -> Result<(), Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let doing = "delete migrated objects from the source";
    let request = s3::delete_batch(Side::Source, &input.source_bucket, batch);
    let response = s3::call(wire, doing, &request).map_err(Trouble::into_error)?;
    let refused = xml::not_deleted(&response.body).map_err(|why| Error::permanent(why).context(doing))?;
    for refused in &refused {
        log::warn!("`{}` stays at the source: {} {}", refused.key, refused.code, refused.message);
    }
    for object in batch.drain(..) {
        if refused.iter().any(|refused| refused.key == object.key) {
            output.kept += 1;
        } else {
            output.deleted += 1;
            output.bytes += object.size;
        }
    }
    wire.report(&input.measures(output.deleted, output.bytes));
    Ok(())
}
