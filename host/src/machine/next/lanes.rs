//! How a `fork` and a parallel loop go on: another lane, the end, or the error of one.

use std::sync::Arc;

use super::Turn;
use crate::machine::lanes::{Lane, Lanes};
use crate::machine::record::Record;
use crate::machine::state::Activation;
use crate::model::{ErrorObject, Json};

impl Turn<'_> {
    /// What follows when some of the lanes have ended or may begin.
    pub(super) fn go_on_lanes(&self, live: &Activation, lanes: &Lanes) -> Result<Record, ErrorObject> {
        let flow = self.program.node(live.node).then;
        if lanes.compete {
            return match lanes.winner.and_then(|winner| lanes.lanes.get(winner)) {
                Some(Lane::Finished(output)) => self.leave(live, output, true, flow),
                _ => Err(broken(lanes)),
            };
        }
        if !lanes.broken.is_empty() {
            return Err(broken(lanes));
        }
        if lanes.has_room() {
            return Ok(Record::Iterated { activation: live.id, index: lanes.lanes.len() as u64 });
        }
        self.leave(live, &Arc::new(Json::Array(lanes.outputs())), true, flow)
    }
}

fn broken(lanes: &Lanes) -> ErrorObject {
    lanes.error().cloned().expect("lanes that are ready without an output have failed")
}
