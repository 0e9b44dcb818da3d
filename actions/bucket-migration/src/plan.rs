//! `plan-copy`: counts what there is to move and makes sure that there is a place for it. Moves nothing.

use orchestrator_sdk::{Error, log, standard};
use serde::{Deserialize, Serialize};

use crate::input::Buckets;
use crate::listing::Listing;
use crate::s3::{self, Trouble};
use crate::wire::{Side, Wire};

/// Progress is shown after so many objects: one page of a listing.
const REPORT_OBJECTS: u64 = 1_000;

/// What there is to move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Objects of the source below the prefix.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The largest of them, in bytes.
    pub largest: u64,
    /// Whether the destination bucket was created by this call.
    pub destination_created: bool,
}

/// Counts the source's objects and checks, or creates, the destination bucket.
///
/// # Errors
/// Permanent when a bucket does not exist or is not accessible.
pub fn plan<W: Wire>(wire: &W, input: &Buckets) -> Result<Output, Error> {
    let mut output = Output { destination_created: destination(wire, input)?, ..Output::default() };
    for object in Listing::new(wire, Side::Source, &input.source_bucket, &input.prefix, None) {
        let object = object?;
        output.objects += 1;
        output.bytes += object.size;
        output.largest = output.largest.max(object.size);
        if output.objects.is_multiple_of(REPORT_OBJECTS) {
            wire.report(&input.measures(output.objects, output.bytes));
        }
    }
    log::info!("{} objects with {} bytes are to be migrated", output.objects, output.bytes);
    Ok(output)
}

/// Whether the destination bucket had to be created.
fn destination<W: Wire>(wire: &W, input: &Buckets) -> Result<bool, Error> {
    let bucket = &input.destination_bucket;
    let head = s3::request(Side::Destination, "HEAD", bucket, "", &[]);
    match s3::call(wire, &format!("look at the destination bucket `{bucket}`"), &head) {
        Ok(_) => Ok(false),
        Err(Trouble::Missing(_)) if input.create_destination => create(wire, bucket),
        Err(Trouble::Missing(_)) => Err(Error::permanent(format!("the destination bucket `{bucket}` does not exist"))
            .with_type(standard::COMMUNICATION, 404, "No such bucket")
            .cure("create it, or order with `createDestination: true`")),
        Err(trouble) => Err(trouble.into_error()),
    }
}

fn create<W: Wire>(wire: &W, bucket: &str) -> Result<bool, Error> {
    let put = s3::request(Side::Destination, "PUT", bucket, "", &[]);
    match s3::call(wire, &format!("create the destination bucket `{bucket}`"), &put) {
        Ok(_) => Ok(true),
        // Another attempt of this very action, or somebody else, was faster; what counts is that it is there and ours.
        Err(trouble) => match s3::call(wire, "look again", &s3::request(Side::Destination, "HEAD", bucket, "", &[])) {
            Ok(_) => Ok(false),
            Err(_) => Err(trouble.into_error()),
        },
    }
}
