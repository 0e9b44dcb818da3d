//! Snapshots: the state of an instance as it was after some record, so that taking it up again does not read its whole
//! history. The records stay the truth: a snapshot that cannot be read, or is of another form, is as good as none.

use serde::{Deserialize, Serialize};

use crate::journal::{Batch, Journal, StoreError, keys, row};
use crate::machine::state::State;
use crate::model::InstanceId;

/// Grows whenever the state's stored form does; no older form is read.
const FORM: u32 = 1;

/// A snapshot is written after so many records at the earliest.
const RECORDS_MIN: u64 = 1_000;

/// A snapshot of so many bytes is worth one record: writing snapshots stays a fraction of writing records.
const BYTES_A_RECORD: u64 = 100;

/// The row of a snapshot as it is written.
#[derive(Serialize)]
struct Written<'a> {
    form: u32,
    engine: &'a str,
    state: &'a State,
}

/// The row of a snapshot as it is read.
#[derive(Deserialize)]
struct Read {
    form: u32,
    engine: String,
    state: State,
}

/// When the next snapshot of an instance is due.
pub(super) struct Snapshots {
    next: u64,
}

impl Snapshots {
    /// For an instance that stands at this record.
    pub(super) fn after(seq: u64) -> Self {
        Self { next: seq + RECORDS_MIN }
    }

    /// Adds the snapshot that is due, if one is.
    pub(super) fn add(&mut self, batch: Batch, state: &State) -> Batch {
        if state.seq() < self.next || state.end().is_some() {
            return batch;
        }
        let bytes = row::encode(&Written { form: FORM, engine: env!("CARGO_PKG_VERSION"), state });
        self.next = state.seq() + RECORDS_MIN.max(bytes.len() as u64 / BYTES_A_RECORD);
        batch.put(keys::snapshot(state.id()), bytes)
    }
}

/// The newest snapshot that this program can read.
pub(super) fn newest(journal: &dyn Journal, id: InstanceId) -> Result<Option<State>, StoreError> {
    let Some(bytes) = journal.get(&keys::snapshot(id))? else { return Ok(None) };
    let read = row::decode::<Read>(&bytes).ok();
    // The engine's version counts, because it decides how a definition's tasks are numbered.
    let read = read.filter(|read| read.form == FORM && read.engine == env!("CARGO_PKG_VERSION"));
    Ok(read.map(|read| read.state).filter(|state| state.id() == id))
}
