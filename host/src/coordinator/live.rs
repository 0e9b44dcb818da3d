//! What only memory knows of an instance while it runs: its mailbox, where it stands at the moment, newest progress and
//! the log lines of the attempts that are out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::attempt::Observer;
use super::locked;
use super::ownership::Ownership;
use super::view::{InstanceSummary, Progress, Status};
use crate::definition::graph::{NodeId, Program};
use crate::machine::next::Event;
use crate::machine::state::{Errand, State, Waiting};
use crate::model::{InstanceId, PackName};

/// So many messages wait for an instance; a sender beyond them waits in turn. Attempts send a message at a time, so this
/// is only reached by many cancels at once.
pub(super) const MAILBOX_MAX: usize = 64;

/// So many of the things that an instance waits for are told.
const WAITS_TOLD_MAX: usize = 3;

/// A message to an instance's task.
pub(super) struct Message {
    /// What happened.
    pub(super) event: Event,
    /// Told when it is durable, or why it is not.
    pub(super) stored: oneshot::Sender<Result<(), String>>,
}

/// A running instance, as everybody else sees it.
pub(super) struct Live {
    pub(super) id: InstanceId,
    pub(super) whose: Arc<Ownership>,
    pub(super) pack: PackName,
    pub(super) version: semver::Version,
    pub(super) program: Arc<Program>,
    pub(super) mailbox: mpsc::Sender<Message>,
    pub(super) posture: Mutex<Posture>,
    pub(super) cancelling: AtomicBool,
    pub(super) observers: Mutex<BTreeMap<Errand, Arc<Observer>>>,
    pub(super) progress: Mutex<BTreeMap<u64, Progress>>,
    /// Cancelled when the instance has ended, durably.
    pub(super) ended: CancellationToken,
}

/// Where an instance stands.
pub(super) struct Posture {
    pub(super) status: Status,
    pub(super) updated_at: Timestamp,
    pub(super) waits: Vec<Waiting>,
    /// Since when it is suspended, if it is.
    pub(super) suspended: Option<Timestamp>,
}

/// An instance that cannot be taken up.
#[derive(Debug, Clone)]
pub(super) struct Damaged {
    pub(super) why: String,
    pub(super) pack: Option<(PackName, semver::Version)>,
}

impl Posture {
    pub(super) fn of(state: &State) -> Self {
        let waits: Vec<_> = state.waits().collect();
        let idle = waits.iter().all(|wait| !matches!(wait, Waiting::Call { .. }));
        let suspended = state.suspended();
        let status = match suspended {
            Some(_) => Status::Suspended,
            None if idle && !state.is_busy() => Status::Waiting,
            None => Status::Running,
        };
        Self { status, updated_at: state.at(), waits, suspended }
    }
}

impl Live {
    pub(super) fn new(
        summary: &InstanceSummary,
        program: Arc<Program>,
        state: &State,
    ) -> (Self, mpsc::Receiver<Message>) {
        let (mailbox, inbox) = mpsc::channel(MAILBOX_MAX);
        let live = Self {
            id: summary.id,
            whose: Arc::new(summary.whose()),
            pack: summary.pack.clone(),
            version: summary.pack_version.clone(),
            program,
            mailbox,
            posture: Mutex::new(Posture::of(state)),
            cancelling: AtomicBool::new(false),
            observers: Mutex::default(),
            progress: Mutex::default(),
            ended: CancellationToken::new(),
        };
        (live, inbox)
    }

    /// Brings what only memory knows into a stored summary.
    pub(super) fn fill(&self, summary: &mut InstanceSummary) {
        summary.cancelling = self.cancelling.load(Ordering::Relaxed);
        let posture = locked(&self.posture);
        summary.status = posture.status;
        summary.updated_at = posture.updated_at;
        let suspended =
            posture.suspended.map(|since| format!("is suspended since {} until it is resumed", seconds(since)));
        let waits = posture.waits.iter().take(WAITS_TOLD_MAX).map(|wait| self.sentence(*wait));
        let told: Vec<_> = suspended.into_iter().chain(waits).collect();
        summary.waiting_for = (!told.is_empty()).then(|| told.join("; "));
    }

    fn sentence(&self, wait: Waiting) -> String {
        match wait {
            Waiting::Call { errand, node, since } => self.call_sentence(errand, node, since),
            Waiting::Events { node, since, consumed } => {
                let (name, since) = (self.name(node), seconds(since));
                format!("waits for events since {since}, {consumed} so far (task {name})")
            }
            Waiting::Timer { node, due } => format!("waits until {} (task {})", seconds(due), self.name(node)),
            Waiting::Retry { node, due, retry } => {
                format!("waits until {} for retry {retry} of {}", seconds(due), self.name(node))
            }
        }
    }

    fn call_sentence(&self, errand: Errand, node: NodeId, since: Timestamp) -> String {
        let (name, attempt, since) = (self.name(node), errand.attempt, seconds(since));
        let running = locked(&self.observers).get(&errand).is_some_and(|observer| observer.is_running());
        match (errand.probe, running) {
            (_, false) => {
                format!("attempt {attempt} of {name} waits for its turn since {since}: too many attempts run")
            }
            (false, true) => format!("attempt {attempt} of {name} is running since {since}"),
            (true, true) => format!("{name} is being asked whether attempt {attempt} of {since} took effect"),
        }
    }

    fn name(&self, node: NodeId) -> &str {
        self.program.node(node).name.as_str()
    }
}

/// A time without its fraction.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
