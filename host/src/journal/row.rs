//! How a row's value is written: one version byte, then JSON. Rules for change: a reader accepts every version up to its
//! own; within a version members are only added, with a default, and unknown members are ignored; anything else is a new
//! version with a conversion here. An unknown version is an error, never a guess.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::StoreError;

/// The version this program writes.
pub const VERSION: u8 = 1;

/// Writes a value.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, value)
        .expect("our rows have text keys and finite numbers, and memory does not fail");
    bytes.into()
}

/// Reads a value.
///
/// # Errors
/// The version is unknown, or the bytes are not what that version writes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&VERSION, json)) => {
            serde_json::from_slice(json).map_err(|error| StoreError(format!("read a row: {error}")))
        }
        Some((version, _)) => Err(StoreError(format!(
            "read a row of version {version}: this program knows versions up to {VERSION}; start a newer one"
        ))),
        None => Err(StoreError("read a row: it is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_what_it_writes_and_nothing_else() {
        let value = serde_json::json!({"a": [1, null, "x"]});
        assert_eq!(decode::<serde_json::Value>(&encode(&value)), Ok(value));
        for bad in [&b""[..], b"\x02{}", b"\x01{", b"{}"] {
            assert!(decode::<serde_json::Value>(bad).is_err());
        }
    }
}
