//! Tells for each object of the source whether the destination has the same, by evidence only: equal entity tags, or
//! equal bytes. Where the tags cannot be compared (other part lengths, encryption by the server's own keys), both
//! copies are read in pieces side by side. `verify` and `delete-source-objects` are built on it.

use std::collections::BTreeMap;

use orchestrator_sdk::Error;
use serde::{Deserialize, Serialize};

use crate::input::{Buckets, Compare};
use crate::listing::{Pair, Pairs};
use crate::s3::{self, Object, TRIES, Trouble};
use crate::wire::{Flight, Side, Wire};

/// What is read at once of each copy. Four pairs under way are 16 MiB of guest memory, copies on the way included
/// about twice that.
const PIECE_BYTES: u64 = 2 * 1024 * 1024;
const PAIRS_MAX: usize = 4;

/// What was found out about one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The entity tags are equal.
    SameByEtag,
    /// All bytes are equal.
    SameByContent,
    /// The destination has no such object.
    Missing,
    /// The lengths differ.
    SizeDiffers,
    /// The bytes differ.
    ContentDiffers,
    /// One of the two changed, or went away, while it was read.
    Changed,
}

impl Verdict {
    /// Whether the destination is proved to have the same object.
    pub fn is_same(self) -> bool {
        matches!(self, Self::SameByEtag | Self::SameByContent)
    }
}

/// A walk over the source with a verdict on each object.
pub struct Verdicts<'w, W: Wire> {
    wire: &'w W,
    input: &'w Buckets,
    pairs: Pairs<'w, W>,
}

impl<'w, W: Wire> Verdicts<'w, W> {
    /// Starts behind `after`, or at the beginning.
    pub fn new(wire: &'w W, input: &'w Buckets, after: Option<&str>) -> Self {
        Self { wire, input, pairs: Pairs::new(wire, input, after) }
    }
}

/// What can be proved about one object. With `compare: content` entity tags prove nothing.
///
/// # Errors
/// When one of the copies cannot be read.
pub fn judge<W: Wire>(
    wire: &W,
    input: &Buckets,
    object: &Object,
    counterpart: Option<&Object>,
) -> Result<Verdict, Error> {
    let by_etag = input.compare != Compare::Content;
    match counterpart {
        None => Ok(Verdict::Missing),
        Some(counterpart) if counterpart.size != object.size => Ok(Verdict::SizeDiffers),
        Some(counterpart) if by_etag && object.same_by_etag(counterpart) => Ok(Verdict::SameByEtag),
        Some(_) if object.size == 0 => Ok(Verdict::SameByContent),
        Some(counterpart) => Contents::new(wire, input, object, counterpart).compare(),
    }
}

impl<W: Wire> Iterator for Verdicts<'_, W> {
    type Item = Result<(Object, Verdict), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (object, counterpart) = match self.pairs.next()? {
                Ok(Pair::Source(object, counterpart)) => (object, counterpart),
                Ok(Pair::Extra(_)) => continue,
                Err(error) => return Some(Err(error)),
            };
            let verdict = judge(self.wire, self.input, &object, counterpart.as_ref());
            return Some(verdict.map(|verdict| (object, verdict)));
        }
    }
}

type Piece = (u64, Side, u8);

/// Reads two copies side by side.
struct Contents<'w, W: Wire> {
    flight: Flight<'w, W, Piece>,
    input: &'w Buckets,
    source: &'w Object,
    destination: &'w Object,
    /// Pieces whose counterpart has not come yet, by where they start.
    waiting: BTreeMap<u64, Vec<u8>>,
}

impl<'w, W: Wire> Contents<'w, W> {
    fn new(wire: &'w W, input: &'w Buckets, source: &'w Object, destination: &'w Object) -> Self {
        let pairs = (input.in_flight() / 2).clamp(1, PAIRS_MAX);
        Self { flight: Flight::new(wire, pairs * 2), input, source, destination, waiting: BTreeMap::new() }
    }

    fn compare(mut self) -> Result<Verdict, Error> {
        let mut starts = (0..self.source.size).step_by(PIECE_BYTES as usize);
        let mut again: Vec<Piece> = Vec::new();
        loop {
            while self.flight.has_room() {
                if let Some(piece) = again.pop() {
                    self.read(piece)?;
                } else if let Some(start) = starts.next() {
                    self.read((start, Side::Source, 1))?;
                    self.read((start, Side::Destination, 1))?;
                } else {
                    break;
                }
            }
            let Some(((start, side, tries), ended)) = self.flight.next() else { return Ok(Verdict::SameByContent) };
            let doing = format!("read `{}` at the {}", self.source.key, side.connection());
            match s3::judge(&doing, ended) {
                Ok(outcome) => {
                    if !self.matches(start, outcome.response.body) {
                        return Ok(Verdict::ContentDiffers);
                    }
                }
                Err(Trouble::Again { .. }) if tries < TRIES => again.push((start, side, tries + 1)),
                Err(Trouble::Changed | Trouble::Missing(_)) => return Ok(Verdict::Changed),
                Err(trouble) => return Err(trouble.into_error()),
            }
        }
    }

    fn read(&mut self, piece: Piece) -> Result<(), Error> {
        let (start, side, _) = piece;
        let (bucket, object) = match side {
            Side::Source => (&self.input.source_bucket, self.source),
            Side::Destination => (&self.input.destination_bucket, self.destination),
        };
        let length = PIECE_BYTES.min(object.size - start);
        let request = s3::request(side, "GET", bucket, &object.key, &[])
            .range(start, length, &object.etag)
            .paced(self.input.bytes_per_second);
        self.flight.send(piece, request).map_err(|(_, broken)| match s3::judge("read", Err(broken)) {
            Err(trouble) => trouble.into_error(),
            Ok(_) => Error::transient("an exchange could not be started"),
        })
    }

    /// Whether a piece is equal to its counterpart, or the first of the two.
    fn matches(&mut self, start: u64, body: Vec<u8>) -> bool {
        let length = PIECE_BYTES.min(self.source.size - start);
        if body.len() as u64 != length {
            return false;
        }
        match self.waiting.remove(&start) {
            Some(other) => other == body,
            None => {
                self.waiting.insert(start, body);
                true
            }
        }
    }
}
