//! What all actions of this pack are given.

use orchestrator_sdk::progress::Measure;
use serde::{Deserialize, Deserializer, Serialize};

/// Exchanges that may be under way at once: the host allows 16 an attempt, and two are kept for the listings' next pages.
const IN_FLIGHT_MAX: usize = 14;

/// Enough to keep both ends busy without starving other instances of connections.
const IN_FLIGHT_USUAL: usize = 8;

/// Objects that may fail before the whole action gives up: more than this is no trouble with single objects.
const FAILURES_USUAL: u64 = 100;

/// What one exchange may take when the pace is limited: a third of the time that a connection usually gives a request.
const STRIDE_SECONDS: u64 = 20;

/// The protocol's smallest part.
const STRIDE_MIN: u64 = 5 * 1024 * 1024;

/// How it is told whether the destination has an object already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Compare {
    /// Equal lengths.
    Size,
    /// Equal lengths, and the destination's is not older.
    Time,
    /// Equal entity tags, or a copy in parts that names the source's entity tag.
    #[default]
    Etag,
    /// Equal entity tags, otherwise equal bytes.
    Proof,
    /// Equal bytes, whatever the entity tags say.
    Content,
}

/// Whether the destination is asked to copy by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServerSide {
    /// Tried; where it is refused, the bytes go through the host.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// From which bucket to which, what, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Buckets {
    /// The bucket behind the connection `source`.
    pub source_bucket: String,
    /// The bucket behind the connection `destination`.
    pub destination_bucket: String,
    /// Only objects whose keys start with this; all when empty.
    #[serde(deserialize_with = "or_default")]
    pub prefix: String,
    /// Only objects whose keys end with this; all when empty.
    #[serde(deserialize_with = "or_default")]
    pub suffix: String,
    /// Only objects whose keys match one of these patterns; all when empty.
    #[serde(deserialize_with = "or_default")]
    pub include: Vec<String>,
    /// No objects whose keys match one of these patterns.
    #[serde(deserialize_with = "or_default")]
    pub exclude: Vec<String>,
    /// Only objects written at this time or later, `2026-01-31T00:00:00Z`.
    #[serde(deserialize_with = "or_default")]
    pub modified_after: String,
    /// Only objects written before this time.
    #[serde(deserialize_with = "or_default")]
    pub modified_before: String,
    /// Only objects at least so many days old; only for `plan-copy`, which makes a time of it.
    pub min_age_days: Option<f64>,
    /// Only objects at most so many days old; as above.
    pub max_age_days: Option<f64>,
    /// How it is told whether an object is right already.
    #[serde(deserialize_with = "or_default")]
    pub compare: Compare,
    /// Whether the destination copies by itself where it can.
    #[serde(deserialize_with = "or_default")]
    pub server_side: ServerSide,
    /// Whether tags are left out.
    #[serde(deserialize_with = "or_default")]
    pub without_tags: bool,
    /// Exchanges under way at once, 1 to 14, default 8.
    pub concurrency: Option<usize>,
    /// Bytes that are read from the source in a second, at most.
    pub bytes_per_second: Option<u64>,
    /// Objects that may fail before the action gives up.
    pub max_failures: Option<u64>,
    /// Create the destination bucket when it does not exist; only for `plan-copy`.
    #[serde(deserialize_with = "or_default")]
    pub create_destination: bool,
    /// Where the destination bucket is created: a region, or a backend of a multi-cloud service.
    #[serde(deserialize_with = "or_default")]
    pub destination_location: String,
    /// Change nothing; only for `plan-copy`.
    #[serde(deserialize_with = "or_default")]
    pub dry_run: bool,
    /// Extra objects that may be deleted; only for `delete-extra-objects`.
    pub max_delete: Option<u64>,
    /// Delete extra objects even when the source has none at all; only for `delete-extra-objects`.
    #[serde(deserialize_with = "or_default")]
    pub allow_empty_source: bool,
    /// The key at the destination that the report is written to.
    #[serde(deserialize_with = "or_default")]
    pub report_key: String,
    /// The destination's time when the order was planned; what was written since is the order's; for `write-report`.
    #[serde(deserialize_with = "or_default")]
    pub planned_at: String,
    /// How many objects there are, when `plan-copy` has counted them: the goal that progress is shown against.
    pub objects: Option<u64>,
    /// How many bytes there are.
    pub bytes: Option<u64>,
}

/// A workflow passes an option that was not given as null.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(data: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(data).map(Option::unwrap_or_default)
}

impl Buckets {
    /// How many exchanges to keep under way: at a limited pace only as many as end within their time.
    pub fn in_flight(&self) -> usize {
        let wanted = self.concurrency.unwrap_or(IN_FLIGHT_USUAL).clamp(1, IN_FLIGHT_MAX);
        let paced = self.bytes_per_second.map(|rate| (rate * STRIDE_SECONDS / STRIDE_MIN).max(1) as usize);
        paced.map_or(wanted, |paced| wanted.min(paced))
    }

    /// The most bytes that one exchange may carry at a limited pace, when all that are under way share it.
    pub fn stride(&self) -> Option<u64> {
        let rate = self.bytes_per_second?;
        Some((rate * STRIDE_SECONDS / self.in_flight() as u64).max(STRIDE_MIN))
    }

    /// How many objects may fail.
    pub fn failures_max(&self) -> u64 {
        self.max_failures.unwrap_or(FAILURES_USUAL)
    }

    /// Progress in objects and bytes.
    pub fn measures(&self, objects: u64, bytes: u64) -> [Measure; 2] {
        let measure = |unit: &str, done: u64, total: Option<u64>| Measure { unit: unit.to_owned(), done, total };
        [measure("objects", objects, self.objects), measure("bytes", bytes, self.bytes)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_limited_pace_every_exchange_ends_within_its_time() {
        let check = |rate: u64, in_flight: usize, stride: u64| {
            let input = Buckets { bytes_per_second: Some(rate), ..Buckets::default() };
            assert_eq!((input.in_flight(), input.stride()), (in_flight, Some(stride)), "{rate}");
        };
        const MIB: u64 = 1024 * 1024;
        check(MIB / 4, 1, 5 * MIB);
        check(MIB, 4, 5 * MIB);
        check(100 * MIB, 8, 250 * MIB);
        assert_eq!((Buckets::default().in_flight(), Buckets::default().stride()), (8, None));
    }
}
