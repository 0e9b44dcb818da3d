//! Attempts at the edge, with what the pack was granted: those at actions in the sandbox, the calls of the language itself
//! by the caller. Grants are looked up at each attempt, so that a change holds from the next one on.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::perform::{Attempt, Finding, Observe, Perform};
use crate::clock::Clock;
use crate::connection::Connections;
use crate::connection::call::{Caller, Kind};
use crate::connection::secrets::SecretStore;
use crate::definition::graph::Callee;
use crate::definition::yaml;
use crate::model::{Failure, Problem, Reaction, Success, standard};
use crate::pack::{Catalog, CatalogError};
use crate::sandbox::{Invocation, Phase, Reply, Sandbox};

/// Runs attempts in the sandbox and by the caller.
#[derive(Clone)]
pub struct Sandboxed {
    /// Where components and grants come from.
    pub catalog: Arc<Catalog>,
    /// The ways to the outside.
    pub connections: Arc<Connections>,
    /// Where granted secrets are read.
    pub secrets: SecretStore,
    /// Where guests run.
    pub sandbox: Arc<Sandbox>,
    /// Who makes the calls that are none of an action; see [`caller`].
    pub caller: Caller,
}

/// The caller of a server or of a run at the desk.
///
/// # Errors
/// TLS cannot be set up on this machine.
pub fn caller(clock: Arc<dyn Clock>) -> Result<Caller, String> {
    Caller::new(clock, |text| match yaml::parse(text, "document") {
        Ok(tree) => Ok(tree.to_json()),
        Err(finding) => Err(finding.to_string()),
    })
}

impl Perform for Sandboxed {
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        let rooms = self.clone();
        async move {
            let kind = match attempt.call.callee {
                Callee::Action(_) | Callee::Workflow { .. } => None,
                Callee::Http => Some(Kind::Http),
                Callee::OpenApi => Some(Kind::OpenApi),
            };
            if let Some(kind) = kind {
                return rooms.call(kind, attempt).await;
            }
            let phase = Phase::Run(attempt.call.arguments.clone());
            match rooms.attempt(attempt, phase, observer).await? {
                Reply::Succeeded(success) => Ok(success),
                _ => Err(unfit("the component does not implement this action; correct `component` in pack.yaml")),
            }
        }
        .boxed()
    }

    fn probe(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        let (rooms, phase) = (self.clone(), Phase::Probe(attempt.call.arguments.clone()));
        async move {
            if attempt.call.callee.action().is_none() {
                return Ok(Finding::Unknown);
            }
            match rooms.attempt(attempt, phase, observer).await? {
                Reply::Probed(finding) => Ok(finding),
                _ => Ok(Finding::Unknown),
            }
        }
        .boxed()
    }
}

impl Sandboxed {
    async fn attempt(&self, attempt: Attempt, phase: Phase, observer: Arc<dyn Observe>) -> Result<Reply, Failure> {
        let Attempt { instance, reference, call, .. } = attempt;
        let Callee::Action(action) = call.callee else { return Err(unfit("this call is none of an action")) };
        let component = self.catalog.component(&action).await.map_err(not_at_hand)?;
        let granted = self.catalog.granted(&action, &self.connections, &self.secrets).map_err(not_at_hand)?;
        let invocation = Invocation {
            action: action.action,
            phase,
            instance: instance.to_string(),
            task: reference,
            idempotency_key: call.key,
            attempt: call.attempt,
            timeout: call.timeout.unsigned_abs(),
            checkpoint: call.checkpoint,
        };
        self.sandbox.attempt(&component, invocation, granted, observer).await
    }
}

impl Sandboxed {
    async fn call(&self, kind: Kind, attempt: Attempt) -> Result<Success, Failure> {
        let Attempt { pack, version, call, .. } = attempt;
        let allowed = self.catalog.granted_workflow(&pack, &version, &self.connections, &self.secrets);
        let allowed = allowed.map_err(not_at_hand)?;
        self.caller.call(kind, &call.arguments, &allowed, &call.key, call.timeout.unsigned_abs()).await
    }
}

/// Nothing has been called yet, so another attempt is harmless where the machine, not the pack, is at fault.
fn not_at_hand(error: CatalogError) -> Failure {
    let reaction = match error {
        CatalogError::NotFound(_) | CatalogError::Unusable(_) => Reaction::Permanent,
        CatalogError::Files(_) | CatalogError::Store(_) => Reaction::Transient { retry_after_ms: None },
    };
    Failure { reaction, problem: problem("the action is not at hand", error.to_string()) }
}

fn unfit(detail: &str) -> Failure {
    Failure {
        reaction: Reaction::Permanent,
        problem: problem("the component does not fit its pack", detail.to_owned()),
    }
}

fn problem(title: &str, detail: String) -> Problem {
    let (segment, status) = standard::CONFIGURATION;
    Problem { kind: format!("{}{segment}", standard::BASE), status, title: title.to_owned(), detail }
}
