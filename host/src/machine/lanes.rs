//! Bodies side by side: the branches of a `fork`, the iterations of a parallel loop. Each is a lane; what came of it waits
//! until the node decides.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::apply::Legal;
use super::record::ActivationId;
use super::state::{Body, Inside, State, Token, loop_of};
use crate::definition::graph::{Fork, Program};
use crate::model::{ErrorObject, Json};

/// Bodies side by side. A lane's number is its branch's or its iteration's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lanes {
    /// The items of a loop; a fork has none.
    pub(super) items: Option<Arc<Vec<Json>>>,
    pub(super) lanes: Vec<Lane>,
    /// So many lanes in all.
    pub(super) count: usize,
    /// So many run at once.
    pub(super) width: usize,
    /// Those that run.
    pub(super) running: usize,
    /// The first to succeed decides.
    pub(super) compete: bool,
    /// The first that succeeded.
    pub(super) winner: Option<usize>,
    /// Those that failed, in the order in which they did.
    pub(super) broken: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Lane {
    Running,
    Finished(Arc<Json>),
    Broken { error: ErrorObject, not_before: Option<Timestamp> },
}

impl Lanes {
    /// Whether there is something to decide about them.
    pub(super) fn is_ready(&self) -> bool {
        match self.compete {
            true => self.winner.is_some() || self.broken.len() == self.count,
            false => !self.broken.is_empty() || self.has_room() || self.is_over(),
        }
    }

    /// Whether another lane may begin.
    pub(super) fn has_room(&self) -> bool {
        self.lanes.len() < self.count && self.running < self.width
    }

    fn is_over(&self) -> bool {
        self.lanes.len() == self.count && self.running == 0
    }

    /// The outputs, once all lanes have succeeded.
    pub(super) fn outputs(&self) -> Vec<Json> {
        let output = |lane: &Lane| match lane {
            Lane::Finished(output) => Some(Json::clone(output)),
            Lane::Running | Lane::Broken { .. } => None,
        };
        self.lanes.iter().filter_map(output).collect()
    }

    pub(super) fn end(&mut self, number: usize, inside: Inside) -> Result<(), &'static str> {
        let lane = self.lanes.get_mut(number).filter(|lane| **lane == Lane::Running);
        let lane = lane.ok_or("no such branch or iteration runs")?;
        match inside {
            Inside::Finished(output) => {
                *lane = Lane::Finished(output);
                self.winner.get_or_insert(number);
            }
            Inside::Broken { error, not_before } => {
                *lane = Lane::Broken { error, not_before };
                self.broken.push(number);
            }
            Inside::Running => return Err("a branch cannot end by running"),
        }
        self.running -= 1;
        Ok(())
    }

    /// The earliest time at which trying again may help, as the failure that decides said.
    pub(super) fn not_before(&self) -> Option<Timestamp> {
        match self.lanes.get(self.decisive()?) {
            Some(Lane::Broken { not_before, .. }) => *not_before,
            _ => None,
        }
    }

    /// The error that the node passes on, once it does.
    pub(super) fn error(&self) -> Option<&ErrorObject> {
        match self.lanes.get(self.decisive()?) {
            Some(Lane::Broken { error, .. }) => Some(error),
            _ => None,
        }
    }

    /// The failure that decides: among competitors the last one, else the first one.
    fn decisive(&self) -> Option<usize> {
        if self.compete { self.broken.last().copied() } else { self.broken.first().copied() }
    }

    /// The item of a loop's iteration.
    pub(super) fn item(&self, lane: u64) -> Option<&Json> {
        self.items.as_ref()?.get(usize::try_from(lane).ok()?)
    }
}

/// The branches of a fork, all of which have begun.
pub(super) fn branches(fork: &Fork) -> Lanes {
    let count = fork.branches.len();
    Lanes {
        items: None,
        lanes: vec![Lane::Running; count],
        count,
        width: count,
        running: count,
        compete: fork.compete,
        winner: None,
        broken: Vec::new(),
    }
}

/// The iterations of a loop, none of which has begun.
pub(super) fn iterations(items: &Arc<Vec<Json>>, width: u32) -> Lanes {
    Lanes {
        items: Some(items.clone()),
        lanes: Vec::new(),
        count: items.len(),
        width: width.max(1) as usize,
        running: 0,
        compete: false,
        winner: None,
        broken: Vec::new(),
    }
}

impl State {
    /// A parallel loop's next iteration begins.
    pub(super) fn lane_begun(&mut self, program: &Program, id: ActivationId, index: u64) -> Legal {
        let live = self.live_mut(id)?;
        let first = loop_of(program, live.node).map(|each| program.scope(each.body).first);
        let (Body::Lanes(lanes), Some(node)) = (&mut live.body, first) else {
            return Err("only a loop has iterations");
        };
        if index != lanes.lanes.len() as u64 || !lanes.has_room() {
            return Err("its iteration does not follow the one before, or has no item or no place");
        }
        lanes.lanes.push(Lane::Running);
        lanes.running += 1;
        let input = live.input.clone();
        self.tokens.push_back(Token { parent: Some(id), lane: Some(index), node, input });
        Ok(())
    }
}
