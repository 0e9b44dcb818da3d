//! Making a volume larger.
//!
//! The service takes a failed extension back: the volume becomes `available` again with its old size, and nothing else
//! tells that it failed. So whoever waits compares sizes.

use orchestrator_sdk::{Context, Error, http, log};
use serde::{Deserialize, Serialize};

use crate::api::{self, BACKEND, VOLUMES};
use crate::volumes::{self, Volume};
use crate::wire;

/// The error of an order that would make a volume smaller.
pub const CANNOT_SHRINK: &str = "urn:orchestrator:storage:cannot-shrink";

/// The state while a volume grows.
const EXTENDING: &str = "extending";

/// What `extend-volume` is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtendVolume {
    /// The volume; it has to be `available`.
    pub volume_id: String,
    /// The size it is to have, in GB.
    pub size: u64,
}

/// The request's body.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    new_size: u64,
}

/// Asks to extend a volume and returns its state then: usually `extending` with the old size. A volume that has the size
/// or is being extended is returned as it is.
///
/// # Errors
/// Those of the API; `cannot-shrink` 400 when the volume is larger; `communication` 404 when there is none; unknown when
/// the extension may have begun: a repeat looks first.
pub fn extend_volume(_: &Context, input: ExtendVolume) -> Result<Volume, Error> {
    if let Some(volume) = input.served()? {
        log::info!("volume `{}` is {} with {:?} GB", volume.id, volume.status, volume.size);
        return Ok(volume);
    }
    let path = format!("{}/resize", api::path(VOLUMES, &input.volume_id));
    let response = http::post(BACKEND, &path).json(&Body { new_size: input.size }).send()?;
    match response.status() {
        404 => Err(api::missing("volume", &input.volume_id)),
        _ if response.is_success() => wire::parse(&response),
        status => {
            let doing = format!("extend volume `{}` to {} GB", input.volume_id, input.size);
            let error = api::refused(&response, &doing, "the volume has to be available: detach it first");
            match status == 400 {
                // An earlier request may have been taken in between looking and asking.
                true => input.served()?.ok_or(error),
                false => Err(error),
            }
        }
    }
}

impl ExtendVolume {
    /// The volume, if nothing is left to ask for.
    fn served(&self) -> Result<Option<Volume>, Error> {
        let Some(volume) = volumes::read(&self.volume_id)? else { return Err(api::missing("volume", &self.volume_id)) };
        match volume.size {
            Some(size) if size > self.size => Err(shrinking(&volume.id, size, self.size)),
            Some(size) if size == self.size || volume.status == EXTENDING => Ok(Some(volume)),
            _ => Ok(None),
        }
    }
}

fn shrinking(id: &str, size: u64, asked: u64) -> Error {
    let detail = format!(
        "volume `{id}` has {size} GB and cannot shrink to {asked} GB; order a new volume of {asked} GB and copy the data"
    );
    Error::validation(detail).with_type(CANNOT_SHRINK, 400, "A volume cannot shrink")
}

#[cfg(test)]
#[path = "extend_tests.rs"]
mod tests;
