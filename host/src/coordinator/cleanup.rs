//! What is left to be done outside when an instance is cancelled. Cancelling ends an instance at once, so its own tasks
//! cannot clean up. A workflow names another one of its pack in `document.metadata.onCancel`; that one is started, with
//! the cancelled instance's identifier, input and context, before the cancellation is recorded. So a breakdown in between
//! loses nothing: what is asked for again finds the same cleaning up, which must be safe to do at any time.
//!
//! The context is what the instance's tasks had exported a moment before. What a request under way does after that is not
//! in it, so whoever cleans up finds things by the instance's identifier wherever they carry it.

use std::sync::Arc;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::handle::InstanceError;
use super::start::{self, Start, StartError};
use super::{Shared, store};
use crate::definition::graph::Program;
use crate::machine::record::Parent;
use crate::model::{InstanceId, Json, WorkflowName};

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
    let context = store::context(&*shared.journal, id)?;
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
    };
    match with_context(shared, id, plain, context.as_deref()).await {
        Ok(()) => Ok(()),
        Err(StartError::Unavailable(why)) => Err(InstanceError::Unavailable(why)),
        Err(error) => {
            tracing::error!(instance = %id, %error, "what its workflow names in `onCancel` cannot be started");
            Ok(())
        }
    }
}

/// Starts it with the context. A schema from before there was one refuses it; then it is started without.
async fn with_context(
    shared: &Arc<Shared>,
    id: InstanceId,
    plain: Start,
    context: Option<&Json>,
) -> Result<(), StartError> {
    let mut start = plain.clone();
    start.input["context"] = context.cloned().unwrap_or_else(|| json!({}));
    match begin(shared, id, start).await {
        Err(StartError::InvalidInput(_)) => begin(shared, id, plain).await,
        begun => begun,
    }
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
