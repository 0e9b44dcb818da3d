//! One attempt under way: its turn among all attempts, and what it tells while it runs.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use super::live::{Live, Message};
use super::perform::{Attempt, Finding, LogLevel, Measure, Observe};
use super::view::{Event, LogLine, Progress};
use super::{Shared, child, locked};
use crate::definition::graph::{Callee, NodeKind};
use crate::machine::command::Call;
use crate::machine::next::{Event as Happened, Found};
use crate::machine::state::Errand;
use crate::model::{Effect, Failure, Json, Problem, Reaction, standard};

/// So much of what an attempt logs is kept, the newest: enough to see what went wrong, little enough for one row.
const LOG_BYTES_MAX: usize = 1024 * 1024;

/// What a line takes beside its text.
const LINE_BYTES: usize = 64;

/// Followers get progress of one attempt at most ten times in a second.
const PROGRESS_PAUSE: SignedDuration = SignedDuration::from_millis(100);

/// A checkpoint is for finding the place again, not for data; it is written to the journal each time.
const CHECKPOINT_BYTES_MAX: usize = 1024 * 1024;

/// Runs an errand when its turn comes and says what happened.
pub(super) async fn run(shared: Arc<Shared>, observer: Arc<Observer>, errand: Errand, call: Call) -> Happened {
    let (activation, number) = (errand.activation, errand.attempt);
    if let (Callee::Workflow { .. }, false) = (&call.callee, errand.probe) {
        // Without a turn: it only waits, and what it waits for may need the last turn that there is.
        observer.running.store(true, Ordering::Relaxed);
        let result = child::run(shared, observer, call).await;
        return Happened::ResultArrived { activation, attempt: number, result };
    }
    // The semaphore is never closed; were it, running without a turn would still be right.
    let _turn = shared.permits.clone().acquire_owned().await;
    observer.running.store(true, Ordering::Relaxed);
    let attempt = Attempt {
        instance: observer.live.id,
        tenant: observer.live.whose.tenant.clone(),
        pack: observer.live.pack.clone(),
        version: observer.live.version.clone(),
        reference: observer.reference.clone(),
        call,
    };
    if errand.probe {
        let answer = AssertUnwindSafe(shared.perform.probe(attempt, observer)).catch_unwind().await;
        let found = found(answer.unwrap_or_else(|_| Err(panicked())));
        Happened::ProbeAnswered { activation, attempt: number, found }
    } else {
        let heartbeat = attempt.call.heartbeat;
        let answer = AssertUnwindSafe(shared.perform.run(attempt, observer.clone())).catch_unwind();
        let result = match heartbeat {
            None => answer.await,
            Some(heartbeat) => tokio::select! {
                answer = answer => answer,
                () = observer.silent(heartbeat) => Ok(Err(observer.stalled(heartbeat))),
            },
        };
        let result = result.unwrap_or_else(|_| Err(panicked()));
        Happened::ResultArrived { activation, attempt: number, result }
    }
}

fn found(answer: Result<Finding, Failure>) -> Found {
    match answer {
        Ok(Finding::Done(success)) => Found::Done(success),
        Ok(Finding::NotDone) => Found::NotDone,
        Ok(Finding::Unknown) => Found::Unknown("the action's probe cannot tell".to_owned()),
        Err(Failure { problem, .. }) => {
            Found::Unknown(format!("the action's probe failed: {}: {}", problem.title, problem.detail))
        }
    }
}

/// A fault of ours in the middle of an attempt: whether it took effect is not known.
fn panicked() -> Failure {
    let detail = "the server failed while it ran the attempt; its log says where";
    let problem =
        Problem { kind: String::new(), status: 500, title: "internal error".to_owned(), detail: detail.to_owned() };
    Failure { reaction: Reaction::Unknown, problem }
}

/// Takes what one attempt tells.
pub(super) struct Observer {
    shared: Arc<Shared>,
    pub(super) live: Arc<Live>,
    errand: Errand,
    name: String,
    pub(super) reference: String,
    /// The call may be made only once.
    once: bool,
    running: AtomicBool,
    lines: Mutex<Lines>,
    told_at: Mutex<Option<Timestamp>>,
    /// When it last reported progress or stored a checkpoint; absent: not yet.
    heard_at: Mutex<Option<Timestamp>>,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<LogLine>,
    bytes: usize,
}

impl Observer {
    pub(super) fn new(shared: Arc<Shared>, live: Arc<Live>, errand: Errand, call: &Call) -> Self {
        let node = live.program.node(call.node);
        let (name, reference) = (node.name.to_string(), node.reference.clone());
        let once = matches!(&node.kind, NodeKind::Act(act) if act.effect == Effect::Once);
        let (running, lines) = (AtomicBool::new(false), Mutex::default());
        let (told_at, heard_at) = (Mutex::default(), Mutex::default());
        Self { shared, live, errand, name, reference, once, running, lines, told_at, heard_at }
    }

    /// Ends when the attempt has reported nothing for so long, counted from its start.
    async fn silent(&self, heartbeat: SignedDuration) {
        let begun = self.shared.clock.now();
        loop {
            let heard = locked(&self.heard_at).unwrap_or(begun);
            let due = heard.saturating_add(heartbeat).expect("a signed duration always saturates");
            if self.shared.clock.now() >= due {
                return;
            }
            self.shared.clock.sleep_until(due).await;
        }
    }

    /// The failure of an attempt that reported nothing. It was cut off in the middle, so what may be done only once has to
    /// be asked about first.
    fn stalled(&self, heartbeat: SignedDuration) -> Failure {
        let reaction = if self.once { Reaction::Unknown } else { Reaction::Transient { retry_after_ms: None } };
        let (segment, status) = standard::TIMEOUT;
        let detail = format!(
            "`{}` reported no progress for {heartbeat:#}; raise `metadata.heartbeat`, or let the action report more often",
            self.name
        );
        let kind = format!("{}{segment}", standard::BASE);
        Failure { reaction, problem: Problem { kind, status, title: "no sign of life".to_owned(), detail } }
    }

    fn heard(&self) {
        *locked(&self.heard_at) = Some(self.shared.clock.now());
    }

    /// Whether its turn has come.
    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// What was logged so far, as far as it is kept.
    pub(super) fn lines(&self) -> Vec<LogLine> {
        locked(&self.lines).kept.iter().cloned().collect()
    }
}

impl Observe for Observer {
    fn log(&self, level: LogLevel, message: String) {
        let at = self.shared.clock.now();
        let line = LogLine { at, task: self.errand.activation.0, attempt: self.errand.attempt, level, message };
        self.shared.publish(&self.live.whose, || Event::Log { instance: self.live.id, line: line.clone() });
        locked(&self.lines).push(line);
    }

    fn progress(&self, measures: Vec<Measure>, note: Option<String>) {
        self.heard();
        let task = self.errand.activation.0;
        let progress = Progress { measures, note };
        locked(&self.live.progress).insert(task, progress.clone());
        let now = self.shared.clock.now();
        let mut told_at = locked(&self.told_at);
        if told_at.is_some_and(|before| now.duration_since(before) < PROGRESS_PAUSE) {
            return; // The newest is kept for whoever asks; a follower gets the next one.
        }
        *told_at = Some(now);
        let name = || self.name.clone();
        self.shared.publish(&self.live.whose, || Event::Progress {
            instance: self.live.id,
            task,
            name: name(),
            progress,
        });
    }

    fn checkpoint(&self, value: Json) -> BoxFuture<'static, Result<(), String>> {
        self.heard();
        let size = value.to_string().len();
        if size > CHECKPOINT_BYTES_MAX {
            let refusal = format!("a checkpoint of {size} bytes is too large: keep it under {CHECKPOINT_BYTES_MAX}");
            return Box::pin(std::future::ready(Err(refusal)));
        }
        let (activation, attempt) = (self.errand.activation, self.errand.attempt);
        self.stored(Happened::CheckpointStored { activation, attempt, value: Arc::new(value) })
    }

    fn secret_revealed(&self, secret: String) -> BoxFuture<'static, Result<(), String>> {
        let (activation, attempt) = (self.errand.activation, self.errand.attempt);
        self.stored(Happened::SecretRevealed { activation, attempt, secret })
    }

    fn cancelled(&self) -> bool {
        self.live.cancelling.load(Ordering::Relaxed)
    }
}

impl Observer {
    fn stored(&self, event: Happened) -> BoxFuture<'static, Result<(), String>> {
        let live = self.live.clone();
        Box::pin(async move { store(&live, event).await })
    }
}

/// Stores a fact of an attempt through its instance's task.
async fn store(live: &Live, event: Happened) -> Result<(), String> {
    const OVER: &str = "the attempt is over";
    let (stored, durable) = oneshot::channel();
    live.mailbox.send(Message { event, stored }).await.map_err(|_| OVER.to_owned())?;
    durable.await.unwrap_or_else(|_| Err(OVER.to_owned()))
}

impl Lines {
    fn push(&mut self, line: LogLine) {
        self.bytes += line.message.len() + LINE_BYTES;
        self.kept.push_back(line);
        while self.bytes > LOG_BYTES_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.message.len() + LINE_BYTES;
        }
    }
}
