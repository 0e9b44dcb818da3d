//! One running instance: a task that owns its state. It decides, commits, publishes, sends out what the state asks for,
//! and waits for what comes back. Nothing goes out before the records that ask for it are durable.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::attempt::{self, Observer};
use super::events::Arrival;
use super::events::lifecycle::Lifecycle;
use super::events::offers::Offers;
use super::live::{Damaged, Live, Message, Posture};
use super::snapshot::Snapshots;
use super::view::Event;
use super::{Shared, index, locked, store};
use crate::journal::{Batch, CommitError, StoreError};
use crate::machine::next::{self, Event as Happened};
use crate::machine::record::Stamped;
use crate::machine::state::{Errand, State};

/// So many things that happened are taken into one append; the rest has its turn right after.
const TAKEN_AT_ONCE_MAX: usize = 64;

/// Something that happened, and who waits for it to be durable.
struct Happening {
    event: Happened,
    stored: Option<oneshot::Sender<Result<(), String>>>,
}

/// The task of one instance.
pub(super) struct Runner {
    shared: Arc<Shared>,
    live: Arc<Live>,
    state: State,
    inbox: mpsc::Receiver<Message>,
    attempts: JoinSet<Happened>,
    out: BTreeMap<Errand, AbortHandle>,
    offers: Offers,
    lifecycle: Lifecycle,
    snapshots: Snapshots,
}

/// Why a runner stops.
enum Stop {
    /// The instance has ended.
    Ended,
    /// The server stops, or its store failed: the journal says where to go on.
    Server,
    /// The instance cannot go on, for this reason.
    Damaged(String),
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>, live: Arc<Live>, state: State, inbox: mpsc::Receiver<Message>) -> Self {
        let offers = Offers::new(&shared.mail, &live.whose.tenant);
        let lifecycle = Lifecycle::new(state.id(), &live.whose);
        let (snapshots, attempts) = (Snapshots::after(state.seq()), JoinSet::new());
        Self { shared, live, state, inbox, attempts, out: BTreeMap::new(), snapshots, offers, lifecycle }
    }

    /// Goes on telling of an instance whose beginning was told by somebody else.
    pub(super) fn telling(self, lifecycle: Lifecycle) -> Self {
        Self { lifecycle, ..self }
    }

    /// Runs the instance on a task of its own, beginning with an event, if something has happened.
    pub(super) fn spawn(mut self, first: Option<Happened>) {
        if first == Some(Happened::Recovered) {
            self.offers = Offers::recovered(&self.shared.mail, &self.live.whose.tenant);
        }
        let (shared, live) = (self.shared.clone(), self.live.clone());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            let stop = AssertUnwindSafe(self.run(first)).catch_unwind().await;
            let fault = || Stop::Damaged("the server failed while it decided what comes next".to_owned());
            if let Stop::Damaged(why) = stop.unwrap_or_else(|_| fault()) {
                report_damage(&shared, &live, why);
            }
            retire(&shared, &live);
        });
    }

    async fn run(mut self, first: Option<Happened>) -> Stop {
        let mut happenings: Vec<_> = first.map(|event| Happening { event, stored: None }).into_iter().collect();
        loop {
            if let Err(stop) = self.turn(happenings).await {
                return stop;
            }
            self.issue();
            match self.receive().await {
                Some(next) => happenings = next,
                None => return Stop::Server,
            }
        }
    }

    /// Takes what happened into one append.
    async fn turn(&mut self, happenings: Vec<Happening>) -> Result<(), Stop> {
        self.lifecycle.prepare(&self.state, self.shared.mail.wants_outgoing());
        let mut records = Vec::new();
        let mut waiting = Vec::new();
        for Happening { event, stored } in happenings {
            let before = records.len();
            records.extend(self.decide(event));
            waiting.extend(stored.map(|stored| (stored, records.len() > before)));
        }
        let committed = self.commit(&records).await;
        let durable = committed.as_ref().map(drop).map_err(|_| "the store failed".to_owned());
        for (stored, taken) in waiting {
            // Whoever waited may be gone.
            let _ = stored.send(if taken { durable.clone() } else { Err("it is over".to_owned()) });
        }
        committed?;
        match self.state.end() {
            Some(_) => Err(Stop::Ended),
            None => Ok(()),
        }
    }

    fn decide(&mut self, event: Happened) -> Vec<Stamped> {
        let (program, evaluator) = (&*self.live.program, &*self.shared.evaluator);
        next::advance(program, &mut self.state, [event], self.shared.moment(), evaluator)
    }

    async fn commit(&mut self, records: &[Stamped]) -> Result<(), Stop> {
        if records.is_empty() {
            return Ok(());
        }
        // Should the store itself have failed, the next commit of anybody says so.
        let batch = self.batch(records).map_err(|error| Stop::Damaged(error.to_string()))?;
        let told = self.lifecycle.take(&self.live.program, records);
        match self.shared.mail.commit(batch, told).await {
            Ok(()) => {}
            Err(CommitError::Unavailable(error)) => return Err(self.lost(&error)),
            Err(CommitError::Conflict(_)) => {
                return Err(Stop::Damaged("somebody else wrote to its journal".to_owned()));
            }
        }
        self.offers.take(records);
        *locked(&self.live.posture) = Posture::of(&self.state);
        if let Some(end) = self.state.end() {
            retire(&self.shared, &self.live);
            self.shared.ends.count(end);
        }
        publish(&self.shared, &self.live, records);
        Ok(())
    }

    /// The rows of one turn: its records, the logs of the attempts that are over by it, the end.
    fn batch(&mut self, records: &[Stamped]) -> Result<Batch, StoreError> {
        let id = self.live.id;
        let mut batch = store::append(Batch::default(), id, records);
        for (errand, observer) in self.drop_attempts() {
            batch = store::add_log(batch, id, errand, &observer.lines());
        }
        batch = self.snapshots.add(batch, &self.state);
        if let Some((end, at)) = store::end_in(records) {
            let summary = store::summary(&*self.shared.journal, id)?;
            let mut summary = summary.ok_or_else(|| StoreError(format!("the summary of instance {id} is gone")))?;
            let before = index::index_of(&summary);
            store::end_summary(&mut summary, end, at);
            batch = store::add_end(batch, &before, &summary);
        }
        Ok(batch)
    }

    /// Interrupts every attempt that the state does not ask for any more.
    fn drop_attempts(&mut self) -> Vec<(Errand, Arc<Observer>)> {
        if self.out.is_empty() {
            return Vec::new();
        }
        let wanted: BTreeSet<_> = self.state.errands().collect();
        let over: Vec<_> = self.out.keys().filter(|errand| !wanted.contains(errand)).copied().collect();
        let mut observers = locked(&self.live.observers);
        let mut dropped = Vec::with_capacity(over.len());
        for errand in over {
            if let Some(attempt) = self.out.remove(&errand) {
                attempt.abort();
            }
            locked(&self.live.progress).remove(&errand.activation.0);
            dropped.extend(observers.remove(&errand).map(|observer| (errand, observer)));
        }
        dropped
    }

    fn lost(&self, error: &StoreError) -> Stop {
        self.shared.fail(error);
        Stop::Server
    }

    /// Sends out what the state asks for and is not out yet.
    fn issue(&mut self) {
        let new: Vec<_> = self.state.errands().filter(|errand| !self.out.contains_key(errand)).collect();
        for errand in new {
            let Some(call) = self.state.call(&self.live.program, errand) else { continue };
            let observer = Arc::new(Observer::new(self.shared.clone(), self.live.clone(), errand, &call));
            locked(&self.live.observers).insert(errand, observer.clone());
            let attempt = attempt::run(self.shared.clone(), observer, errand, call);
            self.out.insert(errand, self.attempts.spawn(attempt));
        }
    }

    /// Waits until something happens; nothing, when the server stops.
    async fn receive(&mut self) -> Option<Vec<Happening>> {
        let (wake, listens) = (self.state.wake(&self.live.program), self.state.listens());
        let clock = self.shared.clock.clone();
        let alarm = async move {
            match wake {
                Some(due) => clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => return None,
            Some(message) = self.inbox.recv() => Some(message.into()),
            Some(ended) = self.attempts.join_next() => ended.ok().map(Happening::from),
            () = alarm => Some(Happening::from(Happened::WakeUp)),
            arrivals = self.offers.next(listens) => return self.arrived(arrivals),
        };
        let mut happenings: Vec<_> = first.into_iter().collect();
        while happenings.len() < TAKEN_AT_ONCE_MAX
            && let Ok(message) = self.inbox.try_recv()
        {
            happenings.push(message.into());
        }
        while happenings.len() < TAKEN_AT_ONCE_MAX
            && let Some(ended) = self.attempts.try_join_next()
        {
            happenings.extend(ended.ok().map(Happening::from));
        }
        Some(happenings)
    }

    /// Events of the inbox, in their order.
    fn arrived(&self, arrivals: Result<Vec<Arrival>, StoreError>) -> Option<Vec<Happening>> {
        let happened = |Arrival { number, event, .. }| Happening::from(Happened::EventArrived { number, event });
        match arrivals {
            Ok(arrivals) => Some(arrivals.into_iter().map(happened).collect()),
            Err(error) => {
                self.shared.fail(&error);
                None
            }
        }
    }
}

/// Takes an instance off the list of those that are run, and wakes who waits for its end. Before its last record is
/// told: whoever hears of the end may delete the instance, or its pack, at once.
pub(super) fn retire(shared: &Shared, live: &Live) {
    locked(&shared.live).remove(&live.id);
    live.ended.cancel();
}

/// Tells followers what is durable now.
pub(super) fn publish(shared: &Shared, live: &Live, records: &[Stamped]) {
    for record in records {
        shared.publish(&live.whose, || Event::Record { instance: live.id, record: record.clone() });
    }
}

fn report_damage(shared: &Shared, live: &Live, why: String) {
    tracing::error!(instance = %live.id, why, "an instance cannot go on; it shows as suspended");
    let pack = Some((live.pack.clone(), live.version.clone()));
    locked(&shared.damaged).insert(live.id, Damaged { why, pack });
}

impl From<Message> for Happening {
    fn from(message: Message) -> Self {
        Self { event: message.event, stored: Some(message.stored) }
    }
}

impl From<Happened> for Happening {
    fn from(event: Happened) -> Self {
        Self { event, stored: None }
    }
}
