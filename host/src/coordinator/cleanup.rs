//! What is left to be done outside when an instance is cancelled. Cancelling ends an instance at once, so its own tasks
//! cannot clean up. A workflow names another one of its pack in `document.metadata.onCancel`; that one is started, with
//! the cancelled instance's identifier, input and context, before the cancellation is recorded. So a breakdown in between
//! loses nothing: what is asked for again finds the same cleaning up, which must be safe to do at any time.
//!
//! It is also given the last checkpoint of an attempt, where there is one. The context is what the instance's tasks had exported a moment before. What a request under way does after that is not
//! in it, so whoever cleans up finds things by the instance's identifier wherever they carry it.

use std::sync::Arc;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::handle::InstanceError;
use super::start::{self, Start, StartError};
use super::{Shared, store};
use crate::definition::graph::Program;
use crate::machine::record::Parent;
use crate::model::{InstanceId, WorkflowName};

/// The place in the definition that the cleaning instance's `parent` names as its task.
const PLACE: &str = "/document/metadata/onCancel";

/// Starts what an instance's workflow names for its cancellation, if it names something. What cannot be started does not
/// keep the instance from being cancelled, except where no work is taken at all.
pub(super) async fn before_cancelling(shared: &Arc<Shared>, id: InstanceId) -> Result<(), InstanceError> {
    let Some(summary) = store::summary(&*shared.journal, id)? else { return Ok(()) };
    let pinned = shared.programs.resolve(&summary.pack, Some(&summary.pack_version), &summary.workflow);
    let Some(workflow) = pinned.ok().and_then(|resolved| named(&resolved.program)) else { return Ok(()) };
    if workflow == summary.workflow {
        return Ok(());
    }
    let known = store::known(&*shared.journal, id)?;
    let plain = Start {
        pack: summary.pack,
        version: Some(summary.pack_version),
        workflow,
        service: None,
        name: None,
        input: json!({ "instance": id, "input": summary.input }),
        idempotency_key: None,
        tenant: summary.tenant,
        created_by: summary.created_by,
        rerun_of: None,
        asked: None,
        note: None,
    };
    match begin_with(shared, id, plain, &known).await {
        Ok(()) => Ok(()),
        Err(StartError::Unavailable(why)) => Err(InstanceError::Unavailable(why)),
        Err(error) => {
            tracing::error!(instance = %id, %error, "what its workflow names in `onCancel` cannot be started");
            Ok(())
        }
    }
}

/// Starts it with what is known. What its schema refuses of that, it does not use, and is started without.
async fn begin_with(
    shared: &Arc<Shared>,
    id: InstanceId,
    plain: Start,
    known: &store::Known,
) -> Result<(), StartError> {
    let context = known.context.as_deref().cloned().unwrap_or_else(|| json!({}));
    let context = [("context", context)];
    let checkpoint = known.checkpoint.iter().map(|value| ("checkpoint", (**value).clone()));
    let everything: Vec<_> = context.iter().cloned().chain(checkpoint).collect();
    for members in [&everything[..], &context] {
        let mut start = plain.clone();
        members.iter().for_each(|(name, value)| start.input[*name] = value.clone());
        match begin(shared, id, start).await {
            Err(StartError::InvalidInput(_)) => {}
            begun => return begun,
        }
    }
    begin(shared, id, plain).await
}

async fn begin(shared: &Arc<Shared>, id: InstanceId, start: Start) -> Result<(), StartError> {
    let key = Sha256::digest(format!("on-cancel\0{id}")).into();
    let parent = Parent { instance: id, task: PLACE.to_owned(), detached: true };
    start::start_child(shared, start, key, parent).await.map(drop)
}

fn named(program: &Program) -> Option<WorkflowName> {
    let name = program.definition.pointer(PLACE)?.as_str()?;
    WorkflowName::parse(name).ok()
}
