//! Progress for people, checkpoints for the next attempt, and the question whether to stop.

use super::wit::orchestrator::progress::progress::{self, Error};
use super::{Guest, Measure};
use crate::model::Json;

/// A checkpoint's JSON text, bytes (WIT `orchestrator:progress`).
const CHECKPOINT_BYTES_MAX: usize = 256 << 10;

/// Units of work shown at once; a person reads no more.
const MEASURES_MAX: usize = 16;

/// A unit's name, characters.
const UNIT_CHARS_MAX: usize = 64;

/// A note, characters.
const NOTE_CHARS_MAX: usize = 1024;

impl progress::Host for Guest {
    fn report(&mut self, measures: Vec<progress::Measure>, note: Option<String>) -> wasmtime::Result<()> {
        let measures = measures
            .into_iter()
            .take(MEASURES_MAX)
            .map(|measure| Measure {
                unit: cut(&measure.unit, UNIT_CHARS_MAX),
                done: measure.done,
                total: measure.total,
            })
            .collect();
        self.observer.progress(measures, note.map(|note| cut(&note, NOTE_CHARS_MAX)));
        Ok(())
    }

    async fn checkpoint(&mut self, state: String) -> Result<(), Error> {
        if state.len() > CHECKPOINT_BYTES_MAX {
            let bytes = state.len();
            return Err(Error::Invalid(format!(
                "shrink the checkpoint: it has {bytes} bytes, at most {CHECKPOINT_BYTES_MAX} are kept"
            )));
        }
        let value: Json = serde_json::from_str(&state)
            .map_err(|error| Error::Invalid(format!("write the checkpoint as JSON: {error}")))?;
        self.observer.checkpoint(value).await.map_err(Error::Unavailable)
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.observer.cancelled())
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(chars_max).collect()
}
