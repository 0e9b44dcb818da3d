//! `abort-uploads`: ends uploads in parts that nobody goes on with, such as those of a cancelled order. Their parts would
//! be stored, and paid for, for ever.

use orchestrator_sdk::{Error, log};
use serde::{Deserialize, Serialize};

use crate::s3::{self, Trouble};
use crate::wire::{Request, Side, Wire};

/// Uploads that are named one by one, at most; more are counted.
const NAMED_MAX: usize = 20;

/// What to abort.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// The bucket they write to, by the connection `destination`.
    pub destination_bucket: String,
    /// The uploads.
    pub uploads: Vec<Upload>,
}

/// An upload in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upload {
    /// The object it would become.
    pub key: String,
    /// Its identifier.
    pub upload_id: String,
}

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Uploads that are gone.
    pub gone: u64,
    /// Uploads that the destination kept.
    pub kept: u64,
    /// The keys of the first 20 of them.
    pub kept_keys: Vec<String>,
}

/// Aborts. Safe to repeat: an upload that is gone is a success.
///
/// # Errors
/// The destination is busy or away.
pub fn abort<W: Wire>(wire: &W, input: &Input) -> Result<Output, Error> {
    let mut output = Output::default();
    for Upload { key, upload_id } in &input.uploads {
        let query = [("uploadId", upload_id.as_str())];
        let request: Request = s3::request(Side::Destination, "DELETE", &input.destination_bucket, key, &query);
        match s3::call(wire, "abort an upload", &request) {
            Ok(_) | Err(Trouble::Missing(_)) => output.gone += 1,
            Err(Trouble::Fatal(why)) => {
                log::warn!("an upload of `{key}` stays: {why}");
                output.keep(key);
            }
            Err(trouble) => return Err(trouble.into_error()),
        }
    }
    Ok(output)
}

impl Output {
    fn keep(&mut self, key: &str) {
        self.kept += 1;
        if self.kept_keys.len() < NAMED_MAX {
            self.kept_keys.push(key.to_owned());
        }
    }
}
