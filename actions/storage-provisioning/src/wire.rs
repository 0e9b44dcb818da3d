//! How answers of the API are read, whichever release wrote them.
//!
//! Releases differ in the case of their keys (`AttachStatus`, `attachStatus`, `AttachmentStatus`), write `""` or `null`
//! for what is absent, and give times as `2021-04-16T15:39:59` in the service's own zone, which they do not tell. So keys
//! are matched in any case, what is empty counts as absent, and times stay the texts they are.

use orchestrator_sdk::{Error, Json, http::Response};
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize};

/// The keys of the API in the spelling that this crate reads.
const KEYS: &[&str] = &[
    "id",
    "createdAt",
    "updatedAt",
    "tenantId",
    "name",
    "description",
    "status",
    "size",
    "availabilityZone",
    "availabilityZones",
    "profileId",
    "poolId",
    "snapshotId",
    "attachStatus",
    "multiAttach",
    "volumeId",
    "hostId",
    "attachMode",
    "accessProtocol",
    "connectionInfo",
    "hostName",
    "osType",
    "accessMode",
    "ip",
    "initiators",
    "storageType",
    "provisioningProperties",
    "totalCapacity",
    "freeCapacity",
    "code",
    "message",
];

/// A time as the API gives it: `YYYY-MM-DDTHH:MM:SS`, usually without a zone. It is compared as text, never converted:
/// which zone is meant only the service knows.
pub(crate) type Time = Option<String>;

/// Reads a body as `T`, in any case of its keys.
///
/// # Errors
/// Those of [`Response::parse`].
pub(crate) fn parse<T: DeserializeOwned>(response: &Response) -> Result<T, Error> {
    response.parse::<Settled<T>>().map(|settled| settled.0)
}

/// Something read after its keys were settled.
struct Settled<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Settled<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settled = settle(Json::deserialize(deserializer)?);
        serde_json::from_value(settled).map(Self).map_err(D::Error::custom)
    }
}

/// Keys in our spelling, what is empty left out. What stands below a key is the API's and stays.
fn settle(value: Json) -> Json {
    match value {
        Json::Array(items) => items.into_iter().map(settle).collect(),
        Json::Object(members) => {
            let mut settled = serde_json::Map::new();
            for (key, value) in members {
                if !value.is_null() && value != "" {
                    settled.entry(spelled(&key)).or_insert(value);
                }
            }
            Json::Object(settled)
        }
        other => other,
    }
}

fn spelled(key: &str) -> String {
    let known = KEYS.iter().find(|known| known.eq_ignore_ascii_case(key));
    known.map_or_else(|| key.to_owned(), |known| (*known).to_owned())
}

/// What is absent is not written: the API refuses `null`.
pub(crate) fn body<T: Serialize>(body: &T) -> Json {
    match serde_json::to_value(body) {
        Ok(Json::Object(members)) => members.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        // A body is always an object of plain members.
        other => other.unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
