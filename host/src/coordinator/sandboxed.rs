//! Attempts at the edge, with what the pack was granted: those at actions in the sandbox, the calls of the language itself
//! by the caller. Grants, connections and secrets are those of the instance's tenant. They are looked up at each attempt, so
//! that a change holds from the next one on.

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
use crate::model::{Failure, Json, Problem, Reaction, Success, standard};
use crate::notification::AllNotifications;
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
    /// What actions may post to.
    pub notifications: Arc<AllNotifications>,
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
    Caller::new(clock, read_yaml)
}

/// Reads a document that a call needs.
///
/// # Errors
/// It is no YAML; the text says why.
pub fn read_yaml(text: &str) -> Result<Json, String> {
    match yaml::parse(text, "document") {
        Ok(tree) => Ok(tree.to_json()),
        Err(finding) => Err(finding.to_string()),
    }
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
        let Attempt { instance, tenant, reference, call, .. } = attempt;
        let Callee::Action(action) = call.callee else { return Err(unfit("this call is none of an action")) };
        let component = self.catalog.component(&action).await.map_err(not_at_hand)?;
        let granted = self.catalog.granted(&tenant, &action, &self.connections, &self.secrets, &self.notifications);
        let granted = granted.map_err(not_at_hand)?;
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
        let Attempt { tenant, pack, version, call, .. } = attempt;
        let allowed = self.catalog.granted_workflow(&tenant, &pack, &version, &self.connections, &self.secrets);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::capability::recorded::Recorded;
    use crate::clock::SystemClock;
    use crate::connection::call::tests::double::{Double, json as answer};
    use crate::definition::graph::NodeId;
    use crate::journal::memory::MemoryJournal;
    use crate::machine::command::Call;
    use crate::machine::record::ActivationId;
    use crate::machine::testing::Plain;
    use crate::model::{InstanceId, PackName, TenantName};
    use crate::pack::directory::Directory;
    use crate::sandbox::SandboxConfig;

    fn open(folder: &Path) -> Sandboxed {
        open_over(Arc::new(MemoryJournal::new()), folder)
    }

    fn open_over(journal: Arc<MemoryJournal>, folder: &Path) -> Sandboxed {
        let secrets = SecretStore::open(journal.clone(), &folder.join("key")).unwrap();
        let connections = Connections::open(journal.clone(), secrets.clone()).unwrap();
        let cache_dir = folder.join("cache");
        let config = SandboxConfig { cache_dir, cache_key: [7; 32], memory_bytes_max: 16 << 20, attempts_max: 1 };
        let sandbox = Sandbox::new(config).unwrap();
        let notifications = AllNotifications::open(journal.clone(), Arc::new(SystemClock)).unwrap();
        let catalog = Catalog::open(journal, &folder.join("packs"), sandbox.clone(), Arc::new(Plain)).unwrap();
        let caller = caller(Arc::new(SystemClock)).unwrap();
        Sandboxed { catalog, connections, secrets, notifications, sandbox, caller }
    }

    async fn install(rooms: &Sandboxed, manifest: &str) {
        install_with(rooms, &[("pack.yaml", manifest)]).await;
    }

    async fn install_with(rooms: &Sandboxed, files: &[(&str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let archive = crate::pack::archive::write(&Directory::open(folder.path()).unwrap()).unwrap();
        rooms.catalog.install_archive(archive.into()).await.unwrap();
    }

    fn attempt(callee: Callee, arguments: Json) -> Attempt {
        let call = Call {
            activation: ActivationId(1),
            node: NodeId(0),
            attempt: 1,
            callee,
            detached: false,
            key: "k".to_owned(),
            arguments,
            checkpoint: None,
            timeout: SignedDuration::from_secs(20),
            heartbeat: None,
        };
        let (pack, version) = (PackName::parse("demo").unwrap(), semver::Version::new(1, 0, 0));
        let (instance, tenant) = (InstanceId(uuid::Uuid::nil()), TenantName::standard());
        Attempt { instance, tenant, pack, version, reference: "/do/0/a".to_owned(), call }
    }

    #[tokio::test]
    async fn a_secret_is_opened_where_the_request_leaves_and_stands_nowhere_in_the_journal() {
        use crate::coordinator::{Coordinator, InstalledPrograms, Parts, Start};
        use crate::journal::{Journal as _, Scan};
        const VALUE: &str = "s3cr3t-v4lue-of-the-token";
        let double = Double::start(|asked| answer(json!({ "got": asked.field("x-key") }))).await;
        let (folder, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let rooms = open_over(journal.clone(), folder.path());
        let host = format!("http://{}", double.host);
        let manifest = format!(
            "format: 1\nname: demo\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\nworkflows: [w.yaml]\n\
             secrets: {{ token: {{ description: for the test }} }}\nuses: {{ hosts: ['{host}'], secrets: [token] }}\n"
        );
        let workflow = format!(
            "document: {{ dsl: '1.0.3', namespace: demo, name: w, version: '1.0.0' }}\nuse: {{ secrets: [token] }}\ndo:\n\
             - ask: {{ call: http, with: {{ method: get, endpoint: '{}', headers: {{ X-Key: '${{ $secrets.token }}' }} }} }}\n",
            double.url("/x")
        );
        install_with(&rooms, &[("pack.yaml", &manifest), ("w.yaml", &workflow)]).await;
        rooms
            .secrets
            .of(&TenantName::standard())
            .put(&crate::model::SecretName::parse("token").unwrap(), VALUE.as_bytes())
            .await
            .unwrap();
        let pack = PackName::parse("demo").unwrap();
        let grants = serde_json::from_value(json!({ "hosts": [host], "secrets": { "token": "token" } })).unwrap();
        rooms.catalog.put_grants(&TenantName::standard(), &pack, grants).await.unwrap();
        let handle = Coordinator::start(Parts {
            journal: journal.clone(),
            clock: Arc::new(SystemClock),
            programs: Arc::new(InstalledPrograms {
                catalog: rooms.catalog.clone(),
                services: crate::service::Services::new(
                    journal.clone(),
                    rooms.catalog.clone(),
                    Arc::new(crate::clock::SystemClock),
                ),
            }),
            perform: Arc::new(rooms),
            evaluator: Arc::new(Plain),
            random: Box::new(|| 0.5),
            attempts_max: 8,
            events: Default::default(),
            closed: crate::coordinator::none_closed(),
        })
        .await
        .unwrap();
        let workflow = crate::model::WorkflowName::parse("w").unwrap();
        let (version, service, name, idempotency_key) = (None, None, None, None);
        let (tenant, created_by) = (crate::model::TenantName::standard(), None);
        let input = json!({});
        let start = Start {
            pack,
            version,
            workflow,
            service,
            name,
            input,
            idempotency_key,
            tenant,
            created_by,
            rerun_of: None,
            asked: None,
            note: None,
        };
        let id = handle.start(start).await.unwrap().summary.id;
        let summary = handle.wait(id, SignedDuration::from_secs(60)).await.unwrap();
        assert_eq!(summary.output, Some(json!({ "got": "***" })), "{:?}", summary.error);
        assert_eq!(double.requests()[0].field("x-key"), VALUE, "the other side got it");
        for row in journal.scan(Scan::prefix(Vec::new(), usize::MAX)).unwrap() {
            let found = row.value.windows(VALUE.len()).any(|part| part == VALUE.as_bytes());
            assert!(!found, "{}", String::from_utf8_lossy(&row.key));
        }
    }

    #[tokio::test]
    async fn calls_of_the_language_go_out_under_the_grants_of_the_workflow_s_pack() {
        let double = Double::start(|asked| match asked.target.as_str() {
            "/openapi.yaml" => {
                answer(Json::Null).body("openapi: 3.0.3\npaths: { /things: { get: { operationId: list } } }")
            }
            target => answer(json!({ "target": target })),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let rooms = open(folder.path());
        let host = format!("http://{}", double.host);
        install(
            &rooms,
            &format!(
                "format: 1\nname: demo\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\nuses: {{ hosts: ['{host}'] }}\n"
            ),
        )
        .await;
        let http = || attempt(Callee::Http, json!({ "method": "get", "endpoint": double.url("/x") }));
        let document = json!({ "document": { "endpoint": double.url("/openapi.yaml") }, "operationId": "list" });
        let run = |attempt| rooms.run(attempt, Arc::new(Recorded::default()));

        let denied = run(http()).await.unwrap_err().problem;
        assert_eq!(denied.status, 403);
        assert!(denied.detail.contains(&format!("orchctl pack grant demo --host {host}")), "{}", denied.detail);
        let grants = serde_json::from_value(json!({ "hosts": [host] })).unwrap();
        rooms.catalog.put_grants(&TenantName::standard(), &PackName::parse("demo").unwrap(), grants).await.unwrap();
        assert_eq!(run(http()).await.unwrap().output, json!({ "target": "/x" }));
        assert_eq!(run(attempt(Callee::OpenApi, document)).await.unwrap().output, json!({ "target": "/things" }));
        let of_another_tenant = Attempt { tenant: TenantName::parse("red").unwrap(), ..http() };
        assert_eq!(run(of_another_tenant).await.unwrap_err().problem.status, 403, "a grant is its tenant's alone");
        let asked = rooms.probe(http(), Arc::new(Recorded::default())).await;
        assert_eq!(asked, Ok(Finding::Unknown), "a request has no probe");
    }
}
