//! After a start of the server: every instance that has not ended is folded from its records and goes on. One that
//! cannot be is reported and left as it is, for a person.

use std::sync::Arc;

use futures_util::StreamExt as _;

use super::live::{Damaged, Live};
use super::runner::Runner;
use super::view::InstanceSummary;
use super::{ProgramError, Programs, Shared, locked, snapshot, store};
use crate::definition::graph::Program;
use crate::journal::{Journal, Scan, StoreError, keys};
use crate::machine::next::Event;
use crate::machine::record::{Record, Stamped};
use crate::machine::state::State;
use crate::model::InstanceId;

/// So many histories are read at once: enough to keep the disk busy, few enough that their rows fit in memory.
const RECOVERED_AT_ONCE: usize = 4;

/// So many marks are read at a time.
const MARKS_AT_ONCE: usize = 1000;

/// An instance, ready to go on.
struct Recovered {
    summary: InstanceSummary,
    program: Arc<Program>,
    state: State,
}

/// Takes up all instances that have not ended.
pub(super) async fn recover(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let scan = Scan { prefix: keys::actives(), after, reverse: false, limit: MARKS_AT_ONCE };
        let marks = shared.journal.scan(scan)?;
        let ids: Vec<_> = marks.iter().filter_map(|mark| keys::instance_of(&mark.key)).collect();
        let each = futures_util::stream::iter(ids);
        each.for_each_concurrent(RECOVERED_AT_ONCE, |id| take_up(shared, id)).await;
        match marks.into_iter().next_back() {
            Some(last) => after = Some(last.key),
            None => return Ok(()),
        }
    }
}

/// Tries once more to take up an instance that could not be; false where it is none of those.
pub(super) async fn try_again(shared: &Arc<Shared>, id: InstanceId) -> bool {
    // Whoever takes it off the list is the only one to take it up.
    if locked(&shared.damaged).remove(&id).is_none() {
        return false;
    }
    take_up(shared, id).await;
    shared.moved.send_modify(|moves| *moves += 1);
    true
}

/// An instance's state as it is durable now, with its workflow.
pub(super) async fn state_of(shared: &Arc<Shared>, id: InstanceId) -> Result<(State, Arc<Program>), String> {
    let reader = shared.clone();
    let loaded = tokio::task::spawn_blocking(move || load(&*reader.journal, &*reader.programs, id)).await;
    let loaded = loaded.map_err(|error| format!("read its journal: {error}"))?;
    loaded.map(|recovered| (recovered.state, recovered.program)).map_err(|damaged| damaged.why)
}

async fn take_up(shared: &Arc<Shared>, id: InstanceId) {
    let reader = shared.clone();
    let loaded = tokio::task::spawn_blocking(move || load(&*reader.journal, &*reader.programs, id)).await;
    match loaded.unwrap_or_else(|error| Err(Damaged { why: format!("read its journal: {error}"), pack: None })) {
        Ok(recovered) => go_on(shared, recovered),
        Err(damaged) => {
            tracing::error!(instance = %id, why = damaged.why, "an instance cannot be taken up; it shows as suspended");
            locked(&shared.damaged).insert(id, damaged);
        }
    }
}

fn go_on(shared: &Arc<Shared>, recovered: Recovered) {
    let Recovered { summary, program, state } = recovered;
    shared.children.expect(&state, &program);
    let (live, inbox) = Live::new(&summary, program, &state);
    let live = Arc::new(live);
    locked(&shared.live).insert(summary.id, live.clone());
    Runner::new(shared.clone(), live, state, inbox).spawn(Some(Event::Recovered));
}

fn load(journal: &dyn Journal, programs: &dyn Programs, id: InstanceId) -> Result<Recovered, Damaged> {
    let lost = |why: String| Damaged { why, pack: None };
    let summary = store::summary(journal, id).map_err(|error| lost(format!("read its summary: {error}")))?;
    let summary = summary.ok_or_else(|| lost("its summary is gone".to_owned()))?;
    if summary.id != id {
        return Err(lost(format!("its summary is that of instance {}", summary.id)));
    }
    let pack = Some((summary.pack.clone(), summary.pack_version.clone()));
    let mut fold = Fold { programs, state: State::new(id), program: None };
    let folded = fold.read(journal, id);
    folded.map_err(|Why(why)| Damaged { why, pack: pack.clone() })?;
    let program = fold.program.ok_or_else(|| Damaged { why: "its history is empty".to_owned(), pack })?;
    Ok(Recovered { summary, program, state: fold.state })
}

/// Why an instance cannot be taken up.
struct Why(String);

impl From<StoreError> for Why {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

struct Fold<'a> {
    programs: &'a dyn Programs,
    state: State,
    program: Option<Arc<Program>>,
}

impl Fold<'_> {
    /// Reads the newest snapshot and the records after it; without one, all records.
    fn read(&mut self, journal: &dyn Journal, id: InstanceId) -> Result<(), Why> {
        let snapshot = snapshot::newest(journal, id)?;
        let mut after = 0;
        if let Some(state) = snapshot {
            store::records(journal, id, 0, |record| self.begin(&record).map(|()| false))?;
            after = state.seq();
            self.state = state;
        }
        store::records(journal, id, after, |record| self.take(&record).map(|()| true))
    }

    /// Finds the program that the instance's first record names.
    fn begin(&mut self, stamped: &Stamped) -> Result<(), Why> {
        if let Record::Created(created) = &stamped.record {
            let program = self.programs.pinned(created).map_err(|error: ProgramError| Why(error.to_string()))?;
            if program.digest != created.definition {
                return Err(Why(format!(
                    "the workflow {} of {} {} is not the one it started with; install that one again",
                    created.workflow, created.pack, created.pack_version
                )));
            }
            self.program = Some(program);
        }
        Ok(())
    }

    fn take(&mut self, stamped: &Stamped) -> Result<(), Why> {
        self.begin(stamped)?;
        let program = self.program.as_ref().ok_or_else(|| Why("its history has no beginning".to_owned()))?;
        self.state.apply(program, stamped).map_err(|error| Why(error.to_string()))
    }
}
