//! What an action knows about the call it serves, and what it leaves behind beside its output.

use std::cell::RefCell;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Json, outside};

/// Outside resources the engine accepts from one call; more would only bloat the instance's journal.
const RESOURCES_MAX: usize = 1_000;

/// The call that an action serves.
#[derive(Debug)]
pub struct Context {
    pub(crate) instance: String,
    pub(crate) task: String,
    pub(crate) idempotency_key: String,
    pub(crate) attempt: u32,
    pub(crate) timeout: Duration,
    pub(crate) checkpoint: Option<Json>,
    pub(crate) left: RefCell<Left>,
}

/// What the action leaves behind beside its output.
#[derive(Debug, Default, Clone)]
pub(crate) struct Left {
    pub(crate) receipt: Option<Json>,
    pub(crate) resources: Vec<Resource>,
}

/// Something outside that a call made or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is, in the outside system's words.
    pub kind: String,
    /// Its identifier there.
    pub id: String,
    /// Whether it was made or removed.
    pub change: Change,
}

/// What happened to an outside resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Made.
    Created,
    /// Removed.
    Deleted,
}

impl Context {
    /// The instance's identifier, for messages to people.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The task's reference, a JSON pointer into the workflow's definition.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The same text for every attempt at this task activation: sent outside, it makes a repeat harmless.
    pub fn idempotency_key(&self) -> &str {
        &self.idempotency_key
    }

    /// 1 for the first attempt.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long this attempt may take from its start.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What the previous attempt stored last with [`Context::save_checkpoint`].
    ///
    /// # Errors
    /// Permanent, when what is stored does not have the asked form.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let Some(stored) = &self.checkpoint else { return Ok(None) };
        let checkpoint = T::deserialize(stored)
            .map_err(|e| Error::permanent(format!("the stored checkpoint does not fit this version: {e}")))?;
        Ok(Some(checkpoint))
    }

    /// Stores a state that the next attempt of this task receives; at most 256 KiB of JSON. Durable on return.
    ///
    /// # Errors
    /// Permanent when the state is too large or not JSON; transient when the store could not take it.
    pub fn save_checkpoint<T: Serialize + ?Sized>(&self, state: &T) -> Result<(), Error> {
        crate::progress::checkpoint(state)
    }

    /// Whether the instance is being cancelled; the attempt is interrupted soon after.
    pub fn cancelled(&self) -> bool {
        outside::cancelled()
    }

    /// Notes that this call made something outside. The engine keeps a ledger of these; more than 1,000 are dropped
    /// with a warning.
    pub fn created(&self, kind: &str, id: &str) {
        self.note(kind, id, Change::Created);
    }

    /// Notes that this call removed something outside.
    pub fn deleted(&self, kind: &str, id: &str) {
        self.note(kind, id, Change::Deleted);
    }

    /// Leaves what `undo` needs later; the last one stands.
    ///
    /// # Errors
    /// Permanent, when the receipt is not JSON (a map with keys that are no texts).
    pub fn receipt<T: Serialize + ?Sized>(&self, receipt: &T) -> Result<(), Error> {
        let receipt = serde_json::to_value(receipt).map_err(|e| Error::permanent(format!("write the receipt: {e}")))?;
        self.left.borrow_mut().receipt = Some(receipt);
        Ok(())
    }

    /// The receipt left so far, for tests.
    pub fn left_receipt(&self) -> Option<Json> {
        self.left.borrow().receipt.clone()
    }

    /// The outside resources noted so far, for tests.
    pub fn left_resources(&self) -> Vec<Resource> {
        self.left.borrow().resources.clone()
    }

    fn note(&self, kind: &str, id: &str, change: Change) {
        let resources = &mut self.left.borrow_mut().resources;
        if resources.len() == RESOURCES_MAX {
            crate::log::warn!("{kind} `{id}` is not noted: one call may note {RESOURCES_MAX} outside resources");
            return;
        }
        resources.push(Resource { kind: kind.to_owned(), id: id.to_owned(), change });
    }
}
