//! A faulted instance is taken up again and goes on from the task that failed: its end is taken back in one commit.

use std::sync::Arc;

use super::events::lifecycle::Lifecycle;
use super::handle::InstanceError;
use super::live::Live;
use super::runner::{Runner, publish, retire};
use super::view::{InstanceSummary, Status};
use super::{Shared, index, locked, recovery, store};
use crate::journal::{Batch, CommitError, keys, row};
use crate::machine::next::{self, Event};
use crate::machine::record::{Parent, Stamped};
use crate::model::InstanceId;

pub(super) async fn reopen(shared: &Arc<Shared>, id: InstanceId, by: Option<String>) -> Result<(), InstanceError> {
    let mut summary = shared.summary(id)?.ok_or(InstanceError::NotFound(id))?;
    check(&summary)?;
    let (mut state, program) =
        recovery::state_of(shared, id).await.map_err(|why| InstanceError::NotRetried(id, why))?;
    let mut lifecycle = Lifecycle::new(id, &Arc::new(summary.whose()));
    lifecycle.prepare(&state, shared.mail.wants_outgoing());
    let asked = [Event::RetryRequested { by }];
    let records = next::advance(&program, &mut state, asked, shared.moment(), &*shared.evaluator);
    if records.is_empty() {
        let why = "nothing is kept that it could go on from; start it anew".to_owned();
        return Err(InstanceError::NotRetried(id, why));
    }
    let told = lifecycle.take(&program, &records);
    let batch = batch(&mut summary, &records);
    let (live, inbox) = Live::new(&summary, program, &state);
    let live = Arc::new(live);
    {
        let mut all = locked(&shared.live);
        if all.contains_key(&id) {
            return Err(InstanceError::NotRetried(id, "somebody else has just asked for it".to_owned()));
        }
        all.insert(id, live.clone());
    }
    if let Err(error) = shared.mail.commit(batch, told).await {
        retire(shared, &live);
        if let CommitError::Unavailable(error) = &error {
            shared.fail(error);
        }
        return Err(InstanceError::Unavailable(error.to_string()));
    }
    if state.end().is_some() {
        retire(shared, &live);
    }
    publish(shared, &live, &records);
    if state.end().is_none() {
        Runner::new(shared.clone(), live, state, inbox).spawn(None);
    }
    Ok(())
}

fn check(summary: &InstanceSummary) -> Result<(), InstanceError> {
    match (summary.status, &summary.parent) {
        (Status::Faulted, Some(Parent { instance, detached: false, .. })) => {
            let why = format!("instance {instance}, which runs it, has taken its error; try that one again");
            Err(InstanceError::NotRetried(summary.id, why))
        }
        (Status::Faulted, _) => Ok(()),
        (status, _) => {
            let why = format!("it is {}, and only a faulted one is tried again", status.as_str());
            Err(InstanceError::NotRetried(summary.id, why))
        }
    }
}

/// The rows that change: it has not ended any more, or has ended once more.
fn batch(summary: &mut InstanceSummary, records: &[Stamped]) -> Batch {
    let (id, before) = (summary.id, index::index_of(summary));
    let mut batch = store::append(Batch::default(), id, records);
    summary.status = Status::Running;
    (summary.ended_at, summary.error) = (None, None);
    match store::end_in(records) {
        Some((end, at)) => store::end_summary(summary, end, at),
        None => batch = batch.put(keys::active(id), bytes::Bytes::new()),
    }
    index::moved(batch, &before, summary).put(keys::instance(id), row::encode(summary))
}
