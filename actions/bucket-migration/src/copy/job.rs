//! The data of a copy: an object on its way, an upload in parts, what is counted, and the first guess about an object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::input::Compare;
use crate::ledger::Ledger;
use crate::s3::{self, Object, SOURCE_ETAG};
use crate::times::to_the_second;
use crate::wire::Response;

/// Failures that are listed; more are counted.
const LISTED_MAX: usize = 100;

/// Bytes of keys and reasons that are listed, so that a checkpoint stays within its limit with the longest keys, too.
const LISTED_BYTES_MAX: usize = 24 * 1024;

/// An object that could not be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its key.
    pub key: String,
    /// What the outside said.
    pub reason: String,
}

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Output {
    /// Chosen objects of the source that were looked at.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were copied.
    pub copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// Of these, objects that the destination copied by itself.
    pub server_side: u64,
    /// Objects that were right at the destination already.
    pub already_right: u64,
    /// Objects that left the source while it was copied.
    pub vanished: u64,
    /// Objects that could not be copied.
    pub failed: u64,
    /// The first 100 of them.
    pub failures: Vec<Failure>,
}

impl Output {
    pub(super) fn note_failure(&mut self, key: &str, reason: String) {
        self.failed += 1;
        let listed: usize = self.failures.iter().map(|failure| failure.key.len() + failure.reason.len()).sum();
        if self.failures.len() < LISTED_MAX && listed + key.len() + reason.len() <= LISTED_BYTES_MAX {
            self.failures.push(Failure { key: key.to_owned(), reason });
        }
    }
}

/// An upload in parts that is not completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Upload {
    pub(super) id: String,
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) part_bytes: u64,
}

impl Upload {
    /// Whether it is an upload of the object as it is now.
    pub(super) fn of(&self, object: &Object) -> bool {
        self.size == object.size && self.etag == object.etag
    }
}

/// What the next attempt needs to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    pub(super) ledger: Ledger,
    pub(super) counts: Output,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) uploads: BTreeMap<String, Upload>,
}

/// The next step of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Read the destination's note of which source it was copied from.
    Compare,
    Get,
    /// Read what the source says about the object, with its first byte: not every server tells to `HEAD` that there are
    /// tags.
    Head,
    Tags,
    Put,
    Stream,
    /// Have the destination copy the whole object.
    Copy,
    Create,
    /// Read which parts an upload of an earlier attempt has, behind this number.
    Parts(u32),
    Part(u32),
    /// Have the destination copy a part.
    CopyPart(u32),
    Complete,
    Abort,
}

impl Step {
    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Compare => "look at the copy of",
            Self::Get | Self::Head => "read",
            Self::Tags => "read the tags of",
            Self::Put => "write",
            Self::Stream | Self::Copy | Self::Part(_) | Self::CopyPart(_) => "copy",
            Self::Create => "begin the upload of",
            Self::Parts(_) => "list the stored parts of",
            Self::Complete => "complete the upload of",
            Self::Abort => "abort the upload of",
        }
    }

    /// Whether the destination does it by itself.
    pub(super) fn is_server_side(self) -> bool {
        matches!(self, Self::Copy | Self::CopyPart(_))
    }

    /// Whether it reads the object from the source.
    pub(super) fn reads_source(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Tags | Self::Stream)
    }
}

/// What an exchange under way is for.
pub(super) struct Note {
    pub(super) key: String,
    pub(super) step: Step,
    /// See [`Job::epoch`].
    pub(super) epoch: u8,
}

/// An object on its way.
pub(super) struct Job {
    /// As listed; as the newest answer says once there was one.
    pub(super) object: Object,
    pub(super) tries: u8,
    /// How often it was begun again. An exchange of an earlier epoch belongs to an upload that is gone: its end says
    /// nothing about the present one.
    pub(super) epoch: u8,
    /// Whether a stream of the whole object broke off.
    pub(super) broke: bool,
    /// Whether the destination refused to copy it by itself.
    pub(super) direct: bool,
    /// Whether the destination copied it, or parts of it, by itself.
    pub(super) by_server: bool,
    /// Whether it passes through the guest's memory.
    pub(super) small: bool,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Entity tags of stored parts, by number.
    pub(super) stored: BTreeMap<u32, String>,
}

impl Job {
    pub(super) fn new(object: Object) -> Self {
        Self {
            object,
            tries: 0,
            epoch: 0,
            broke: false,
            direct: false,
            by_server: false,
            small: false,
            headers: Vec::new(),
            body: Vec::new(),
            stored: BTreeMap::new(),
        }
    }

    /// Whether an answer about the destination's object says that it is a copy of this very object.
    pub(super) fn is_copied_to(&self, response: &Response) -> bool {
        let size = response.header("content-length").and_then(|length| length.parse().ok());
        let (etag, from) = (self.object.etag.as_str(), response.header(SOURCE_ETAG));
        size == Some(self.object.size) && !etag.is_empty() && from == Some(etag)
    }

    /// Takes over what the source says about the object now.
    pub(super) fn learn(&mut self, response: &Response, size: u64) {
        self.headers = s3::kept(response);
        self.object.size = size;
        self.object.etag = response.etag();
    }

    /// The header fields of the copy. One that cannot get the same entity tag carries the source's.
    pub(super) fn fields(&self, in_parts: bool) -> Vec<(String, String)> {
        let mut fields = self.headers.clone();
        if in_parts || self.object.in_parts() {
            fields.push((SOURCE_ETAG.to_owned(), self.object.etag.clone()));
        }
        fields
    }
}

/// What the two listings say about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// The destination has it.
    Right,
    /// The destination may have it: its metadata tell.
    Ask,
    /// The destination may have it: the bytes tell.
    Prove,
    /// The destination does not have it.
    Copy,
}

/// Makes the first guess.
pub fn guess(compare: Compare, object: &Object, counterpart: Option<&Object>) -> Guess {
    let Some(copy) = counterpart.filter(|copy| copy.size == object.size) else { return Guess::Copy };
    let (written, copied) = (to_the_second(&object.modified), to_the_second(&copy.modified));
    let either = |right: bool, otherwise: Guess| if right { Guess::Right } else { otherwise };
    match compare {
        Compare::Size => Guess::Right,
        Compare::Time => either(!written.is_empty() && copied >= written, Guess::Copy),
        Compare::Etag if object.in_parts() || copy.in_parts() => either(object.same_by_etag(copy), Guess::Ask),
        Compare::Etag => either(object.same_by_etag(copy), Guess::Copy),
        Compare::Proof => either(object.same_by_etag(copy) || object.size == 0, Guess::Prove),
        Compare::Content => either(object.size == 0, Guess::Prove),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listings_are_taken_at_their_word_as_far_as_the_order_says() {
        let object = |size, etag: &str, modified: &str| Object {
            key: "k".into(),
            size,
            etag: etag.into(),
            modified: modified.into(),
        };
        let source = object(5, "e", "2026-01-02T00:00:00.500Z");
        let check = |copy: &Object, expected: [Guess; 5]| {
            let ways = [Compare::Size, Compare::Time, Compare::Etag, Compare::Proof, Compare::Content];
            assert_eq!(ways.map(|way| guess(way, &source, Some(copy))), expected, "{copy:?}");
        };
        use Guess::{Ask, Copy, Prove, Right};
        check(&object(5, "e", "2026-01-02T00:00:00.000Z"), [Right, Right, Right, Right, Prove]);
        check(&object(5, "x", "2026-01-03T00:00:00.000Z"), [Right, Right, Copy, Prove, Prove]);
        check(&object(5, "e", "2026-01-01T00:00:00.000Z"), [Right, Copy, Right, Right, Prove]);
        check(&object(5, "x-2", ""), [Right, Copy, Ask, Prove, Prove]);
        check(&object(5, "", ""), [Right, Copy, Copy, Prove, Prove]);
        check(&object(6, "e", "2026-01-03T00:00:00.000Z"), [Copy; 5]);
        assert_eq!(guess(Compare::Size, &source, None), Copy);
        assert_eq!(guess(Compare::Content, &object(0, "a", ""), Some(&object(0, "b", ""))), Right);
    }
}
