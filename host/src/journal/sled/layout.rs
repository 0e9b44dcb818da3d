//! Which sled rows make up a row. A row of sled is `1` and the key; its value is `0` and our value, or, where that is
//! larger than a piece, `1` and the value's length (8 bytes, big-endian). The pieces of a large value are rows of their
//! own, behind all others: `2`, the key's length (2 bytes), the key, the piece's number (4 bytes).
//!
//! Why pieces: sled puts a page that does not fit into a quarter of a segment into a file of its own, which it never
//! syncs and refuses to replace. A leaf is split above 16 rows and rewritten every 10 changes, so that it holds fewer
//! than 28; with pieces of a 128th of a segment (4 KiB) and keys of at most 384 bytes it stays below that quarter.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

use super::{Key, Row, StoreError, failed};

/// Changes of sled rows, in the order in which they are made: a key, and its value or that it goes.
pub(super) type Changes = Vec<Change>;

/// One of them.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

const ROW: u8 = 1;
const PIECE: u8 = 2;

const WHOLE: u8 = 0;
const IN_PIECES: u8 = 1;

/// How rows are cut up.
#[derive(Debug)]
pub(super) struct Layout {
    piece_bytes: usize,
}

impl Layout {
    /// The layout for a size of sled's segments.
    pub(super) fn new(segment_bytes: usize) -> Self {
        Self { piece_bytes: segment_bytes / 128 }
    }

    /// The sled rows between two keys.
    pub(super) fn range(&self, low: Bound<Key>, high: Bound<Key>) -> impl RangeBounds<Vec<u8>> + use<> {
        let high = match high {
            Bound::Unbounded => Bound::Excluded(vec![PIECE]),
            bound => bound.map(|key| row_key(&key)),
        };
        let low = match low {
            Bound::Unbounded => Bound::Included(vec![ROW]),
            bound => bound.map(|key| row_key(&key)),
        };
        (low, high)
    }

    /// The value of a key.
    pub(super) fn get(&self, rows: &sled::Tree, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match rows.get(row_key(key)).map_err(failed)? {
            Some(stored) => self.value(rows, key, &stored).map(Some),
            None => Ok(None),
        }
    }

    /// The row that a sled row, found in [`Layout::range`], stands for.
    pub(super) fn row(&self, rows: &sled::Tree, key: &[u8], stored: &[u8]) -> Result<Row, StoreError> {
        let key = key.get(1..).unwrap_or_default().to_vec();
        let value = self.value(rows, &key, stored)?;
        Ok(Row { key, value })
    }

    /// Bytes of a piece.
    pub(super) fn piece_bytes(&self) -> usize {
        self.piece_bytes
    }

    /// Adds to `changes` what gives a key a value, or takes it away.
    pub(super) fn change(
        &self,
        rows: &sled::Tree,
        changes: &mut Changes,
        key: &[u8],
        value: Option<&Bytes>,
    ) -> Result<(), StoreError> {
        let row_key = row_key(key);
        let before = match rows.get(&row_key).map_err(failed)? {
            Some(stored) => self.pieces(length_in_pieces(&stored)?.unwrap_or(0)),
            None => 0,
        };
        let after = match value {
            None => {
                changes.push((row_key, None));
                0
            }
            Some(value) if value.len() <= self.piece_bytes => {
                let mut stored = Vec::with_capacity(1 + value.len());
                stored.push(WHOLE);
                stored.extend_from_slice(value);
                changes.push((row_key, Some(stored)));
                0
            }
            Some(value) => {
                let mut stored = vec![IN_PIECES];
                stored.extend_from_slice(&(value.len() as u64).to_be_bytes());
                changes.push((row_key, Some(stored)));
                for (number, piece) in value.chunks(self.piece_bytes).enumerate() {
                    changes.push((piece_key(key, number), Some(piece.to_vec())));
                }
                self.pieces(value.len())
            }
        };
        for number in after..before {
            changes.push((piece_key(key, number), None));
        }
        Ok(())
    }

    fn pieces(&self, length: usize) -> usize {
        length.div_ceil(self.piece_bytes)
    }

    fn value(&self, rows: &sled::Tree, key: &[u8], stored: &[u8]) -> Result<Bytes, StoreError> {
        let Some(length) = length_in_pieces(stored)? else { return Ok(Bytes::copy_from_slice(&stored[1..])) };
        let mut value = Vec::with_capacity(length);
        for number in 0..self.pieces(length) {
            let piece = rows.get(piece_key(key, number)).map_err(failed)?;
            value.extend_from_slice(&piece.ok_or_else(|| damaged("a piece of a large value is missing"))?);
        }
        match value.len() == length {
            true => Ok(value.into()),
            false => Err(damaged("a large value has another length than it should")),
        }
    }
}

/// The length of a value kept in pieces; nothing where the value is in the row itself.
fn length_in_pieces(stored: &[u8]) -> Result<Option<usize>, StoreError> {
    match stored.split_first() {
        Some((&WHOLE, _)) => Ok(None),
        Some((&IN_PIECES, length)) => {
            let length = <[u8; 8]>::try_from(length).ok().map(u64::from_be_bytes);
            let length = length.and_then(|length| usize::try_from(length).ok());
            match length.filter(|length| *length <= super::VALUE_BYTES_MAX) {
                Some(length) => Ok(Some(length)),
                None => Err(damaged("a large value's length cannot be")),
            }
        }
        _ => Err(damaged("a row is of an unknown kind")),
    }
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError(format!("it is damaged: {what}; restore the data directory from a backup"))
}

fn row_key(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(ROW);
    row.extend_from_slice(key);
    row
}

fn piece_key(key: &[u8], number: usize) -> Vec<u8> {
    let mut piece = Vec::with_capacity(7 + key.len());
    piece.push(PIECE);
    // Keys are bounded by KEY_BYTES_MAX and pieces by VALUE_BYTES_MAX, so that neither number is cut short.
    piece.extend_from_slice(&(key.len() as u16).to_be_bytes());
    piece.extend_from_slice(key);
    piece.extend_from_slice(&(number as u32).to_be_bytes());
    piece
}
