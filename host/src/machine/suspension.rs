//! Suspending and resuming. A suspended instance takes what comes to it: results of the attempts that are out, events that
//! it listens for. Nothing follows from them, and no time runs out, until it is resumed; then everything is decided as if
//! it had come at that moment. Cancelling needs no resuming.

use jiff::Timestamp;

use super::apply::Legal;
use super::next::Turn;
use super::record::Record;
use super::state::{Stage, State};

impl State {
    /// Since when it is suspended, if it is.
    pub fn suspended(&self) -> Option<Timestamp> {
        self.suspended
    }

    pub(super) fn suspend(&mut self, at: Timestamp) -> Legal {
        if self.suspended.is_some() {
            return Err("it was suspended before");
        }
        self.suspended = Some(at);
        Ok(())
    }

    pub(super) fn resume(&mut self) -> Legal {
        self.suspended.take().map(drop).ok_or("it was not suspended")
    }
}

impl Turn<'_> {
    pub(super) fn suspend_requested(&mut self, by: Option<String>) {
        if self.state.stage == Stage::Running && self.state.suspended.is_none() {
            self.push(Record::Suspended { by });
        }
    }

    pub(super) fn resume_requested(&mut self, by: Option<String>) {
        if self.state.suspended.is_some() {
            self.push(Record::Resumed { by });
        }
    }
}
