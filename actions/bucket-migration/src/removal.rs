//! Deleting objects in batches, at either end, and counting what came of it.

use orchestrator_sdk::{Error, log};
use serde::{Deserialize, Serialize};

use crate::input::Buckets;
use crate::s3::{self, Object, Trouble};
use crate::wire::{Side, Wire};
use crate::xml;

/// Objects in one batch; the protocol allows 1,000. Smaller ones keep the time between proof and deletion short.
const BATCH_MAX: usize = 250;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Objects removed by this call.
    pub deleted: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that stay: not proved, changed meanwhile, or kept by the server.
    pub kept: u64,
}

/// Objects of one end that are to be removed.
pub struct Removal<'a, W> {
    wire: &'a W,
    input: &'a Buckets,
    side: Side,
    batch: Vec<Object>,
    output: Output,
}

impl<'a, W: Wire> Removal<'a, W> {
    /// Nothing is to be removed yet.
    pub fn new(wire: &'a W, input: &'a Buckets, side: Side) -> Self {
        Self { wire, input, side, batch: Vec::new(), output: Output::default() }
    }

    /// Counts an object that stays.
    pub fn keep(&mut self) {
        self.output.kept += 1;
    }

    /// Removes an object, at the latest at the end.
    ///
    /// # Errors
    /// The service refuses a batch as such, or cannot be reached.
    pub fn push(&mut self, object: Object) -> Result<(), Error> {
        self.batch.push(object);
        if self.batch.len() == BATCH_MAX { self.send() } else { Ok(()) }
    }

    /// Removes what is left.
    ///
    /// # Errors
    /// As [`Removal::push`].
    pub fn finish(mut self) -> Result<Output, Error> {
        self.send()?;
        Ok(self.output)
    }

    fn send(&mut self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (bucket, doing) = match self.side {
            Side::Source => (&self.input.source_bucket, "delete migrated objects from the source"),
            Side::Destination => (&self.input.destination_bucket, "delete extra objects from the destination"),
        };
        let request = s3::delete_batch(self.side, bucket, &self.batch);
        let response = s3::call(self.wire, doing, &request).map_err(Trouble::into_error)?;
        let refused = xml::not_deleted(&response.body).map_err(|why| Error::permanent(why).context(doing))?;
        let end = self.side.connection();
        for refused in &refused {
            log::warn!("`{}` stays at the {end}: {} {}", refused.key, refused.code, refused.message);
        }
        for object in self.batch.drain(..) {
            if refused.iter().any(|refused| refused.key == object.key) {
                self.output.kept += 1;
            } else {
                self.output.deleted += 1;
                self.output.bytes += object.size;
            }
        }
        self.wire.report(&self.input.measures(self.output.deleted, self.output.bytes));
        Ok(())
    }
}
