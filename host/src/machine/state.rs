//! Where an instance stands: the fold of its records. It keeps what is still needed to go on and nothing else: ended
//! activations are gone from it, and what people see is built from the records by another fold. `apply.rs` holds the
//! rules by which a record changes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::command::{Call, Command};
use super::lanes::Lanes;
use super::listening::Listening;
use super::record::{ActivationId, End, TryLimits, present};
use super::reopening::Wreck;
use crate::definition::graph::{Duration, Each, NodeId, NodeKind, Program, Retry};
use crate::model::{ErrorObject, Failure, InstanceId, Json, OutsideResource};

/// An instance, as far as its records tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(super) id: InstanceId,
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) stage: Stage,
    pub(super) created_at: Timestamp,
    pub(super) raw: Arc<Json>,
    pub(super) deadline: Option<Timestamp>,
    pub(super) context: Arc<Json>,
    pub(super) tokens: VecDeque<Token>,
    pub(super) activations: BTreeMap<ActivationId, Activation>,
    pub(super) activations_made: u64,
    pub(super) cancelling: bool,
    /// Since when nothing new begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) suspended: Option<Timestamp>,
    /// A shielded task has just ended: the limits that it held back come before anything else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) released: bool,
    pub(super) way_out: Option<WayOut>,
    pub(super) end: Option<End>,
    /// What stood when the newest task failed whose error was not caught.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wreck: Option<Box<Wreck>>,
    pub(super) ledger: Vec<LedgerEntry>,
    /// The inbox numbers of the events it consumed, the newest [`CONSUMED_MAX`].
    pub(super) consumed: BTreeSet<u64>,
}

/// So many consumed events are remembered; the inbox offers an event again only for a while after it came.
pub(super) const CONSUMED_MAX: usize = 10_000;

/// What a successful call left outside, kept for undoing it and for finding leaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Which activation called.
    pub activation: ActivationId,
    /// Its node.
    pub node: NodeId,
    /// What `undo` needs.
    #[serde(default, deserialize_with = "present_json", skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Json>,
    /// What was made or removed.
    pub resources: Vec<OutsideResource>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Before `Created`.
    Unborn,
    /// Before `Started`.
    Created,
    /// Between `Started` and `Ended`.
    Running,
    /// After `Ended`.
    Ended,
}

/// How the root scope was left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum WayOut {
    /// With this output, before the workflow's `output.as`.
    Done(Arc<Json>),
    /// With an error that nothing caught.
    Failed(ErrorObject),
}

/// Control on its way into a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) parent: Option<ActivationId>,
    /// Which of the parent's bodies; see `Entered::lane`.
    pub(super) lane: Option<u64>,
    pub(super) node: NodeId,
    pub(super) input: Arc<Json>,
}

/// A node that was entered and is not yet left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Activation {
    pub(super) id: ActivationId,
    pub(super) parent: Option<ActivationId>,
    /// Which of the parent's bodies; see `Entered::lane`.
    pub(super) lane: Option<u64>,
    pub(super) node: NodeId,
    pub(super) raw: Arc<Json>,
    pub(super) input: Arc<Json>,
    pub(super) started_at: Timestamp,
    pub(super) deadline: Option<Timestamp>,
    pub(super) body: Body,
}

/// How far an activation's body is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Body {
    /// It begins next.
    Fresh,
    /// An attempt is out.
    Calling(Attempt),
    /// The attempt's outcome is unknown and the action is being asked.
    Probing { attempt: Attempt, failure: Option<Failure> },
    /// The attempt was interrupted; the next one follows.
    Interrupted(Attempt),
    /// The call failed, at that time; the node fails next.
    Refused { failure: Failure, at: Timestamp },
    /// A `wait`, until then.
    Waiting(Timestamp),
    /// A loop.
    Loop(Loop),
    /// A `do` or a `try`.
    Block(Block),
    /// A `fork`, or a loop whose iterations run side by side.
    Lanes(Lanes),
    /// A `listen`.
    Listening(Listening),
    /// It has its raw output.
    Done(Arc<Json>),
}

/// One call that is or was out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) number: u32,
    pub(super) key: Arc<str>,
    pub(super) arguments: Arc<Json>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint: Option<Arc<Json>>,
    pub(super) since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Loop {
    pub(super) items: Arc<Vec<Json>>,
    /// Absent before the first iteration.
    pub(super) index: Option<u64>,
    pub(super) inside: Inside,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) stage: BlockStage,
    pub(super) retries: u32,
    /// When the try at hand began.
    pub(super) tried_at: Timestamp,
    /// See [`TryLimits`]; absent where they are those of the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<TryLimits>,
    pub(super) inside: Inside,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum BlockStage {
    /// The body runs.
    Body,
    /// The body runs again from then on.
    Delay(Timestamp),
    /// The handler runs, with this error bound.
    Handler(Arc<Json>),
    /// An error was caught and there is no handler.
    Passed,
}

/// What the scope inside a node is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Inside {
    /// It runs.
    Running,
    /// It was left with this output.
    Finished(Arc<Json>),
    /// A child failed.
    Broken { error: ErrorObject, not_before: Option<Timestamp> },
}

/// What an activation asks of the outside, without the data of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errand {
    /// The activation.
    pub activation: ActivationId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Whether the attempt is to be probed, not run.
    pub probe: bool,
}

/// What a state waits for, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// An attempt, or the probe of one.
    Call {
        /// What is out.
        errand: Errand,
        /// The calling node.
        node: NodeId,
        /// Since when the attempt is out.
        since: Timestamp,
    },
    /// A `listen`.
    Events {
        /// The listening node.
        node: NodeId,
        /// Since when.
        since: Timestamp,
        /// How many events it has consumed.
        consumed: usize,
    },
    /// A `wait`.
    Timer {
        /// The waiting node.
        node: NodeId,
        /// Until when.
        due: Timestamp,
    },
    /// The delay before a retry.
    Retry {
        /// The `try`.
        node: NodeId,
        /// Until when.
        due: Timestamp,
        /// Which retry follows, from 1.
        retry: u32,
    },
}

/// Reads a member that is there, `null` included.
fn present_json<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl State {
    /// The state before the first record.
    pub fn new(id: InstanceId) -> Self {
        Self {
            id,
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            stage: Stage::Unborn,
            created_at: Timestamp::UNIX_EPOCH,
            raw: Arc::new(Json::Null),
            deadline: None,
            context: Arc::new(Json::Object(serde_json::Map::new())),
            tokens: VecDeque::new(),
            activations: BTreeMap::new(),
            activations_made: 0,
            cancelling: false,
            suspended: None,
            released: false,
            way_out: None,
            end: None,
            wreck: None,
            ledger: Vec::new(),
            consumed: BTreeSet::new(),
        }
    }

    /// The instance.
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// The last record's number; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last record's time.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What its calls left outside, in order of their ends.
    pub fn ledger(&self) -> &[LedgerEntry] {
        &self.ledger
    }

    /// The transformed input of a live activation.
    pub fn input_of(&self, activation: ActivationId) -> Option<&Arc<Json>> {
        self.activations.get(&activation).map(|live| &live.input)
    }

    /// The node and parent of a live activation.
    pub fn place_of(&self, activation: ActivationId) -> Option<(NodeId, Option<ActivationId>)> {
        self.activations.get(&activation).map(|live| (live.node, live.parent))
    }

    /// Which of its parent's bodies side by side a live activation belongs to.
    pub fn lane_of(&self, activation: ActivationId) -> Option<u64> {
        self.activations.get(&activation)?.lane
    }

    /// The iteration that a live loop is in, from 0.
    pub fn iteration_of(&self, activation: ActivationId) -> Option<u64> {
        match &self.activations.get(&activation)?.body {
            Body::Loop(each) => each.index,
            Body::Listening(Listening { inside: Some(_), outputs, .. }) => Some(outputs.len() as u64),
            _ => None,
        }
    }

    /// The raw output of a live activation whose body is done, or will be without a record of its own.
    pub fn raw_output_of(&self, activation: ActivationId) -> Option<Arc<Json>> {
        self.activations.get(&activation).map(Activation::raw_output)
    }

    /// The live activations, outermost first.
    pub fn live(&self) -> impl Iterator<Item = ActivationId> {
        self.activations.keys().copied()
    }

    /// Whether something can be decided without any event.
    pub fn is_busy(&self) -> bool {
        match self.stage {
            Stage::Unborn | Stage::Ended => false,
            Stage::Created => true,
            Stage::Running if self.suspended.is_some() => self.cancelling,
            Stage::Running => {
                self.cancelling
                    || self.way_out.is_some()
                    || !self.tokens.is_empty()
                    || self.activations.values().any(Activation::is_ready)
            }
        }
    }

    /// The attempts and probes that are out.
    pub fn errands(&self) -> impl Iterator<Item = Errand> {
        self.activations.values().filter_map(|live| {
            let (attempt, probe) = match &live.body {
                Body::Calling(attempt) => (attempt, false),
                Body::Probing { attempt, .. } => (attempt, true),
                _ => return None,
            };
            Some(Errand { activation: live.id, attempt: attempt.number, probe })
        })
    }

    /// Everything needed to run an errand; nothing if it is not out any more.
    pub fn call(&self, program: &Program, errand: Errand) -> Option<Call> {
        let live = self.activations.get(&errand.activation)?;
        let attempt = live.body.attempt_out(errand)?;
        let NodeKind::Act(act) = &program.node(live.node).kind else { return None };
        Some(Call {
            activation: live.id,
            node: live.node,
            attempt: attempt.number,
            callee: act.callee.clone(),
            detached: act.detached,
            key: attempt.key.to_string(),
            arguments: Json::clone(&attempt.arguments),
            checkpoint: attempt.checkpoint.as_deref().cloned(),
            timeout: act.timeout,
            heartbeat: act.heartbeat,
        })
    }

    /// Whether it waits for events.
    pub fn listens(&self) -> bool {
        self.activations.values().any(|live| matches!(&live.body, Body::Listening(Listening { over: false, .. })))
    }

    /// When the machine wants to be woken: the earliest timer or deadline, or at once where a decision was cut short.
    pub fn wake(&self, program: &Program) -> Option<Timestamp> {
        if self.is_busy() {
            return Some(self.at);
        }
        if self.suspended.is_some() {
            return None;
        }
        self.alarms(program).map(|alarm| alarm.due).min()
    }

    /// What the state asks of the outside, whole.
    pub fn commands(&self, program: &Program) -> Vec<Command> {
        let errands = self.errands().filter_map(|errand| {
            let call = self.call(program, errand)?;
            Some(if errand.probe { Command::Probe(call) } else { Command::Call(call) })
        });
        errands.chain(self.wake(program).map(Command::Wake)).collect()
    }

    /// What it waits for.
    pub fn waits(&self) -> impl Iterator<Item = Waiting> {
        self.activations.values().filter_map(|live| match &live.body {
            Body::Calling(attempt) => Some(live.waits_for_call(attempt, false)),
            Body::Probing { attempt, .. } => Some(live.waits_for_call(attempt, true)),
            Body::Waiting(due) => Some(Waiting::Timer { node: live.node, due: *due }),
            Body::Listening(Listening { over: false, since, events, .. }) => {
                Some(Waiting::Events { node: live.node, since: *since, consumed: events.len() })
            }
            Body::Block(Block { stage: BlockStage::Delay(due), retries, .. }) => {
                Some(Waiting::Retry { node: live.node, due: *due, retry: *retries })
            }
            _ => None,
        })
    }

    /// Every time at which something happens by itself. Limits of what is around a shielded task wait for its end.
    pub(super) fn alarms<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = Alarm> + 'a {
        let own = self.deadline.filter(|_| self.stage == Stage::Running);
        let own = own.map(|due| Alarm { due, activation: None, kind: AlarmKind::Deadline });
        let all = own.into_iter().chain(self.activations.values().flat_map(|live| live.alarms(program)));
        let held = self.around_shielded(program);
        all.filter(move |alarm| alarm.kind == AlarmKind::Timer || !held.contains(&alarm.activation))
    }

    /// What has a shielded task inside; absent stands for the workflow itself.
    fn around_shielded(&self, program: &Program) -> BTreeSet<Option<ActivationId>> {
        let mut held = BTreeSet::new();
        for live in self.activations.values().filter(|live| program.node(live.node).shield) {
            held.insert(None);
            let mut around = live.parent;
            while let Some(outer) = around.and_then(|id| self.activations.get(&id)) {
                held.insert(Some(outer.id));
                around = outer.parent;
            }
        }
        held
    }
}

/// A time at which something happens by itself. The earliest comes first; at one time the outermost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alarm {
    pub(super) due: Timestamp,
    /// Absent: the workflow itself.
    pub(super) activation: Option<ActivationId>,
    pub(super) kind: AlarmKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AlarmKind {
    /// The node's `timeout`.
    Deadline,
    /// A try's limit for one attempt, or for all.
    TryLimit,
    /// A wait.
    Timer,
}

impl Activation {
    /// Whether a decision about it is due.
    pub(super) fn is_ready(&self) -> bool {
        match &self.body {
            Body::Fresh | Body::Interrupted(_) | Body::Refused { .. } | Body::Done(_) => true,
            Body::Calling(_) | Body::Probing { .. } | Body::Waiting(_) => false,
            Body::Loop(Loop { inside, .. }) | Body::Block(Block { inside, .. }) => *inside != Inside::Running,
            Body::Lanes(lanes) => lanes.is_ready(),
            Body::Listening(listening) => listening.is_ready(),
        }
    }

    /// Whether its raw output is known, or needs no outside to be.
    pub(super) fn may_leave(&self) -> bool {
        match &self.body {
            Body::Fresh | Body::Done(_) => true,
            Body::Loop(Loop { inside, .. }) | Body::Block(Block { inside, .. }) => {
                matches!(inside, Inside::Finished(_))
            }
            Body::Lanes(lanes) => lanes.is_ready() && !lanes.has_room(),
            Body::Listening(listening) => listening.over,
            _ => false,
        }
    }

    pub(super) fn raw_output(&self) -> Arc<Json> {
        let output = match &self.body {
            Body::Done(output) => output,
            Body::Loop(Loop { inside: Inside::Finished(output), .. })
            | Body::Block(Block { inside: Inside::Finished(output), .. }) => output,
            _ => &self.input,
        };
        output.clone()
    }

    fn waits_for_call(&self, attempt: &Attempt, probe: bool) -> Waiting {
        let errand = Errand { activation: self.id, attempt: attempt.number, probe };
        Waiting::Call { errand, node: self.node, since: attempt.since }
    }

    fn alarms<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = Alarm> + 'a {
        let alarm = |kind| move |due| Alarm { due, activation: Some(self.id), kind };
        let timer = match &self.body {
            Body::Waiting(due) | Body::Block(Block { stage: BlockStage::Delay(due), .. }) => Some(*due),
            _ => None,
        };
        let deadline = self.deadline.map(alarm(AlarmKind::Deadline));
        let limit = self.try_limit(program).map(alarm(AlarmKind::TryLimit));
        deadline.into_iter().chain(limit).chain(timer.map(alarm(AlarmKind::Timer)))
    }

    /// When the try at hand is cut: its own limit or the one of all tries, whichever comes first.
    fn try_limit(&self, program: &Program) -> Option<Timestamp> {
        let Body::Block(block @ Block { stage: BlockStage::Body, .. }) = &self.body else { return None };
        let NodeKind::Scope(declared) = &program.node(self.node).kind else { return None };
        let retry = declared.catch.as_ref()?.retry.as_ref()?;
        let limits = limits(retry, block);
        let each = limits.attempt.map(|limit| later(block.tried_at, limit));
        let all = limits.total.map(|limit| later(self.started_at, limit));
        each.into_iter().chain(all).min()
    }
}

impl Body {
    fn attempt_out(&self, errand: Errand) -> Option<&Attempt> {
        let (attempt, probe) = match self {
            Self::Calling(attempt) => (attempt, false),
            Self::Probing { attempt, .. } => (attempt, true),
            _ => return None,
        };
        (attempt.number == errand.attempt && probe == errand.probe).then_some(attempt)
    }
}

/// How long a try may take: as it was computed when it began, else as the definition says.
pub(super) fn limits(retry: &Retry, block: &Block) -> TryLimits {
    let fixed = |declared: Option<Duration>| declared.and_then(Duration::fixed);
    let declared = || TryLimits { attempt: fixed(retry.attempt_duration), total: fixed(retry.total_duration) };
    block.limits.unwrap_or_else(declared)
}

/// A later time; the calendar's last moment where there is none.
pub(super) fn later(time: Timestamp, by: jiff::SignedDuration) -> Timestamp {
    time.saturating_add(by).expect("a signed duration always saturates")
}

/// The loop of a node.
pub(super) fn loop_of(program: &Program, node: NodeId) -> Option<&Each> {
    match &program.node(node).kind {
        NodeKind::Each(each) => Some(each),
        _ => None,
    }
}
