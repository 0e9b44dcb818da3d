//! What all actions of this pack are given.

use orchestrator_sdk::progress::Measure;
use serde::{Deserialize, Serialize};

/// Exchanges that may be under way at once: the host allows 16 an attempt, and two are kept for the listings' next pages.
const IN_FLIGHT_MAX: usize = 14;

/// Enough to keep both ends busy without starving other instances of connections.
const IN_FLIGHT_USUAL: usize = 8;

/// From which bucket to which.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Buckets {
    /// The bucket behind the connection `source`.
    pub source_bucket: String,
    /// The bucket behind the connection `destination`.
    pub destination_bucket: String,
    /// Only objects whose keys start with this; all when empty.
    #[serde(default, deserialize_with = "text_or_null")]
    pub prefix: String,
    /// Exchanges under way at once, 1 to 14, default 8.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// Create the destination bucket when it does not exist; only for `plan-copy`.
    #[serde(default, deserialize_with = "flag_or_null")]
    pub create_destination: bool,
    /// How many objects there are, when `plan-copy` has counted them: the goal that progress is shown against.
    #[serde(default)]
    pub objects: Option<u64>,
    /// How many bytes there are.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// A workflow passes an option that was not given as null.
fn text_or_null<'de, D: serde::Deserializer<'de>>(data: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(data).map(Option::unwrap_or_default)
}

fn flag_or_null<'de, D: serde::Deserializer<'de>>(data: D) -> Result<bool, D::Error> {
    Option::<bool>::deserialize(data).map(Option::unwrap_or_default)
}

impl Buckets {
    /// How many exchanges to keep under way.
    pub fn in_flight(&self) -> usize {
        self.concurrency.unwrap_or(IN_FLIGHT_USUAL).clamp(1, IN_FLIGHT_MAX)
    }

    /// Progress in objects and bytes.
    pub fn measures(&self, objects: u64, bytes: u64) -> [Measure; 2] {
        let measure = |unit: &str, done: u64, total: Option<u64>| Measure { unit: unit.to_owned(), done, total };
        [measure("objects", objects, self.objects), measure("bytes", bytes, self.bytes)]
    }
}
