//! `delete-extra-objects`: removes from the destination what the source does not have, so that both are alike. It counts
//! before it deletes: more than the order allows, or a source that has nothing at all, is refused with nothing removed.

use orchestrator_sdk::{Error, standard};

use crate::input::Buckets;
use crate::listing::{Pair, Pairs};
use crate::removal::{Output, Removal};
use crate::wire::{Side, Wire};

/// Without another number in the order, so many objects are deleted at most.
const DELETE_USUAL: u64 = 1_000;

/// Deletes. Safe to repeat: what is gone is no longer listed.
///
/// # Errors
/// Permanent 409 when the guard refuses; others when one of the ends cannot be read or refuses.
pub fn delete<W: Wire>(wire: &W, input: &Buckets) -> Result<Output, Error> {
    guard(wire, input)?;
    let mut removal = Removal::new(wire, input, Side::Destination);
    for pair in Pairs::new(wire, input, None).with_extras() {
        if let Pair::Extra(object) = pair? {
            removal.push(object)?;
        }
    }
    removal.finish()
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
