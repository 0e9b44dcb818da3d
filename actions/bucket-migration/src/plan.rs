//! `plan-copy`: counts what there is to move and what is there already, and makes sure that there is a place for it.
//! Moves nothing; in a dry run it changes nothing at all.

use orchestrator_sdk::{Error, log, standard};
use serde::{Deserialize, Serialize};

use crate::copy::{Guess, guess};
use crate::input::Buckets;
use crate::listing::{Pair, Pairs};
use crate::s3::{self, NO_BUCKET, Trouble};
use crate::times;
use crate::wire::{Side, Wire};
use crate::xml;

/// Progress is shown after so many objects: one page of a listing.
const REPORT_OBJECTS: u64 = 1_000;

/// Where a bucket looks for itself: written to the destination, looked for at the source, removed.
const PROBE: &str = ".orchestrator-is-this-one-bucket";

/// What there is to move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Objects of the source that are chosen.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The largest of them, in bytes.
    pub largest: u64,
    /// Objects of the source that are not chosen.
    pub filtered: u64,
    /// Chosen objects that the destination does not have, or not the same.
    pub to_copy: u64,
    /// Their bytes.
    pub bytes_to_copy: u64,
    /// Chosen objects that the destination has.
    pub already_right: u64,
    /// Objects that only the destination has.
    pub extra: u64,
    /// Their bytes.
    pub extra_bytes: u64,
    /// Whether the destination bucket exists now.
    pub destination_exists: bool,
    /// Whether the destination bucket was created by this call.
    pub destination_created: bool,
    /// The earliest time of a chosen object, of `modifiedAfter` and `maxAgeDays`.
    pub modified_after: Option<String>,
    /// The time that chosen objects are older than, of `modifiedBefore` and `minAgeDays`.
    pub modified_before: Option<String>,
    /// The destination's time.
    pub planned_at: Option<String>,
}

/// Counts the source's objects and checks, or creates, the destination bucket.
///
/// # Errors
/// Permanent when a bucket does not exist or is not accessible, or when both are one bucket.
pub fn plan<W: Wire>(wire: &W, input: &Buckets) -> Result<Output, Error> {
    let mut input = input.clone();
    let mut output = Output::default();
    let place = destination(wire, &input)?;
    output.planned_at = place.time;
    output.destination_exists = place.exists;
    output.destination_created = place.created;
    ages(wire, &mut input)?;
    let some = |time: &String| Some(time.clone()).filter(|time| !time.is_empty());
    (output.modified_after, output.modified_before) = (some(&input.modified_after), some(&input.modified_before));
    if place.exists && !place.created && !input.dry_run {
        refuse_same_bucket(wire, &input)?;
    }
    let pairs = match place.exists {
        true => Pairs::new(wire, &input, None).with_extras(),
        false => Pairs::without_destination(wire, &input),
    };
    count(wire, &input, pairs, &mut output)?;
    log::info!("{} of {} objects are to be copied, {} bytes", output.to_copy, output.objects, output.bytes_to_copy);
    Ok(output)
}

fn count<W: Wire>(wire: &W, input: &Buckets, mut pairs: Pairs<'_, W>, output: &mut Output) -> Result<(), Error> {
    for pair in &mut pairs {
        match pair? {
            Pair::Extra(extra) => {
                output.extra += 1;
                output.extra_bytes += extra.size;
            }
            Pair::Source(object, counterpart) => {
                output.objects += 1;
                output.bytes += object.size;
                output.largest = output.largest.max(object.size);
                if guess(input.compare, &object, counterpart.as_ref()) == Guess::Right {
                    output.already_right += 1;
                } else {
                    output.to_copy += 1;
                    output.bytes_to_copy += object.size;
                }
                if output.objects.is_multiple_of(REPORT_OBJECTS) {
                    wire.report(&input.measures(output.objects, output.bytes));
                }
            }
        }
    }
    output.filtered = pairs.filtered;
    Ok(())
}

/// Makes times of ages, by the source's clock.
fn ages<W: Wire>(wire: &W, input: &mut Buckets) -> Result<(), Error> {
    if input.min_age_days.is_none() && input.max_age_days.is_none() {
        return Ok(());
    }
    let bucket = &input.source_bucket;
    let head = s3::request(Side::Source, "HEAD", bucket, "", &[]);
    let answer =
        s3::call(wire, &format!("look at the source bucket `{bucket}`"), &head).map_err(Trouble::into_error)?;
    let untold = || {
        Error::permanent("the source does not tell its time, so ages cannot be told")
            .cure("order with `modifiedAfter` and `modifiedBefore` instead")
    };
    let now = answer.header("date").and_then(times::of_date_field).ok_or_else(untold)?;
    let ago = |days: Option<f64>| days.and_then(|days| times::days_before(&now, days));
    let (oldest, newest) = (ago(input.max_age_days), ago(input.min_age_days));
    let own = std::mem::take(&mut input.modified_after);
    input.modified_after = oldest.into_iter().chain([own]).max().unwrap_or_default();
    let own = Some(std::mem::take(&mut input.modified_before)).filter(|time| !time.is_empty());
    input.modified_before = newest.into_iter().chain(own).min().unwrap_or_default();
    Ok(())
}

#[derive(Default)]
struct Place {
    exists: bool,
    created: bool,
    time: Option<String>,
}

/// Looks at the destination bucket, and creates it when that was asked for.
fn destination<W: Wire>(wire: &W, input: &Buckets) -> Result<Place, Error> {
    let bucket = &input.destination_bucket;
    let head = s3::request(Side::Destination, "HEAD", bucket, "", &[]);
    let doing = format!("look at the destination bucket `{bucket}`");
    match s3::call(wire, &doing, &head) {
        Ok(answer) => {
            let time = answer.header("date").and_then(times::of_date_field);
            Ok(Place { exists: true, created: false, time })
        }
        Err(Trouble::Missing(_)) if input.create_destination && input.dry_run => Ok(Place::default()),
        Err(Trouble::Missing(_)) if input.create_destination => create(wire, input),
        Err(Trouble::Missing(_)) => Err(Error::permanent(format!("the destination bucket `{bucket}` does not exist"))
            .with_type(standard::COMMUNICATION, 404, NO_BUCKET)
            .cure("create it, or order with `createDestination: true`")),
        Err(trouble) => Err(trouble.into_error()),
    }
}

fn create<W: Wire>(wire: &W, input: &Buckets) -> Result<Place, Error> {
    let bucket = &input.destination_bucket;
    let mut put = s3::request(Side::Destination, "PUT", bucket, "", &[]);
    if !input.destination_location.is_empty() {
        let body = xml::location(&input.destination_location).into_bytes();
        put = put.header("content-type", "application/xml").body(body);
    }
    let place = |response: &crate::wire::Response, created| Place {
        exists: true,
        created,
        time: response.header("date").and_then(times::of_date_field),
    };
    match s3::call(wire, &format!("create the destination bucket `{bucket}`"), &put) {
        Ok(answer) => Ok(place(&answer, true)),
        // Another attempt of this very action, or somebody else, was faster; what counts is that it is there and ours.
        Err(trouble) => match s3::call(wire, "look again", &s3::request(Side::Destination, "HEAD", bucket, "", &[])) {
            Ok(answer) => Ok(place(&answer, false)),
            Err(_) => Err(trouble.into_error()),
        },
    }
}

/// Refuses an order from a bucket to itself, whose proof would hold for every object and whose removal would lose all.
/// Two buckets of one name are told apart by an empty object: written to the one, looked for in the other.
///
/// # Errors
/// Permanent 409 when both are one; others when they cannot be asked.
pub fn refuse_same_bucket<W: Wire>(wire: &W, input: &Buckets) -> Result<(), Error> {
    if input.source_bucket != input.destination_bucket {
        return Ok(());
    }
    let at = |side, method| s3::request(side, method, &input.source_bucket, PROBE, &[]);
    let write = at(Side::Destination, "PUT").body(Vec::new());
    s3::call(wire, "tell the two buckets apart", &write).map_err(Trouble::into_error)?;
    let seen = s3::call(wire, "tell the two buckets apart", &at(Side::Source, "HEAD"));
    let removed = s3::call(wire, "remove the probe", &at(Side::Destination, "DELETE"));
    match seen {
        Ok(_) => {
            let detail = format!("source and destination are one bucket, `{}`", input.source_bucket);
            Err(Error::permanent(detail)
                .with_type(standard::VALIDATION, 409, "Source is destination")
                .cure("name another bucket, or grant connections to two different services"))
        }
        Err(Trouble::Missing(_)) => removed.map(drop).map_err(Trouble::into_error),
        Err(trouble) => Err(trouble.into_error()),
    }
}
