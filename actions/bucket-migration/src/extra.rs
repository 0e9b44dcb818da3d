//! `delete-extra-objects`: removes from the destination what the source does not have, so that both are alike. It counts
//! before it deletes: more than the order allows, or a source that has nothing at all, is refused with nothing removed.

use orchestrator_sdk::{Error, log, standard};
use serde::{Deserialize, Serialize};

use crate::input::Buckets;
use crate::listing::{Pair, Pairs};
use crate::s3::{self, Object, Trouble};
use crate::wire::{Side, Wire};
use crate::xml;

/// Objects in one batch; see `delete`.
const BATCH_MAX: usize = 250;

/// Without another number in the order, so many objects are deleted at most.
const DELETE_USUAL: u64 = 1_000;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Objects removed by this call.
    pub deleted: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that stay, because they changed meanwhile or the server kept them.
    pub kept: u64,
}

/// Deletes. Safe to repeat: what is gone is no longer listed.
///
/// # Errors
/// Permanent 409 when the guard refuses; others when one of the ends cannot be read or refuses.
pub fn delete<W: Wire>(wire: &W, input: &Buckets) -> Result<Output, Error> {
    guard(wire, input)?;
    let (mut output, mut batch) = (Output::default(), Vec::new());
    for pair in Pairs::new(wire, input, None).with_extras() {
        let Pair::Extra(object) = pair? else { continue };
        batch.push(object);
        if batch.len() == BATCH_MAX {
            send(wire, input, &mut batch, &mut output)?;
        }
    }
    send(wire, input, &mut batch, &mut output)?;
    Ok(output)
}

fn guard<W: Wire>(wire: &W, input: &Buckets) -> Result<(), Error> {
    let (mut extras, mut others) = (0_u64, 0_u64);
    let mut pairs = Pairs::new(wire, input, None).with_extras();
    for pair in &mut pairs {
        match pair? {
            Pair::Extra(_) => extras += 1,
            Pair::Source(..) => others += 1,
        }
    }
    let most = input.max_delete.unwrap_or(DELETE_USUAL);
    let refused = |detail: String, cure: &str| {
        let error = Error::permanent(detail).with_type(standard::VALIDATION, 409, "Too much would be deleted");
        Err(error.cure(cure))
    };
    if extras > 0 && others + pairs.filtered == 0 && !input.allow_empty_source {
        let bucket = &input.source_bucket;
        let detail =
            format!("the source `{bucket}` has no objects, so all {extras} at the destination would be deleted");
        return refused(detail, "check the source bucket and the prefix, or order with `allowEmptySource: true`");
    }
    if extras > most {
        let detail = format!("{extras} objects are only at the destination, and at most {most} may be deleted");
        return refused(detail, "order a dry run to see the numbers, then order with a larger `maxDelete`");
    }
    Ok(())
}

fn send<W: Wire>(wire: &W, input: &Buckets, batch: &mut Vec<Object>, output: &mut Output) -> Result<(), Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let doing = "delete extra objects from the destination";
    let request = s3::delete_batch(Side::Destination, &input.destination_bucket, batch);
    let response = s3::call(wire, doing, &request).map_err(Trouble::into_error)?;
    let refused = xml::not_deleted(&response.body).map_err(|why| Error::permanent(why).context(doing))?;
    for refused in &refused {
        log::warn!("`{}` stays at the destination: {} {}", refused.key, refused.code, refused.message);
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
