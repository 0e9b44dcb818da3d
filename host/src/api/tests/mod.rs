//! The routes over real rooms: a journal in memory, an empty catalog, and a script in the place of guests.

mod conditional;
mod diagrams;
mod documented;
mod follow_ups;
mod following;
mod front;
mod hostile;
mod instances;
mod isolation;
mod keys;
mod layers;
mod monitoring;
mod notifications;
mod ordering;
mod people;
mod posting;
mod refused;
mod schedules;
mod services;
mod soda;
mod stored;
mod tenants;
mod webhooks;

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::{Router, response::Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use tower::ServiceExt;

use super::edge::Hosts;
use super::front::Settings;
use super::replays::Replays;
use super::rooms::Rooms;
use crate::clock::SystemClock;
use crate::connection::Connections;
use crate::connection::secrets::SecretStore;
use crate::coordinator::perform::{Attempt, Finding, Observe};
use crate::coordinator::{
    Coordinator, InstalledPrograms, Ordered, Parts, Perform, ProgramError, Programs, Resolved, Scheduled,
};
use crate::definition::graph::Program;
use crate::identity::settings::IdentitySettings;
use crate::identity::{Identity, IdentityKeys};
use crate::journal::Journal;
use crate::journal::memory::MemoryJournal;
use crate::journal::riding::Riding;
use crate::machine::record::Created;
use crate::machine::testing::{Plain, program};
use crate::model::{Failure, Json, PackName, Problem, Reaction, ServiceName, Success, TenantName, WorkflowName};
use crate::notification::AllNotifications;
use crate::pack::Catalog;
use crate::sandbox::{Sandbox, SandboxConfig};
use crate::service::{OrderError, Services};

/// The whole interface over rooms of its own.
struct Server {
    router: Router,
    journal: Arc<dyn Journal>,
    rooms: Arc<Rooms>,
    _directory: Arc<tempfile::TempDir>,
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Server {
    /// A server that authenticates nobody.
    async fn new() -> Self {
        Self::with(IdentitySettings::default()).await
    }

    /// A server that knows people in this way.
    async fn with(identity: IdentitySettings) -> Self {
        Self::open(Arc::new(MemoryJournal::new()), folder(), identity, Hosts::LoopbackAnd(Vec::new()).into()).await
    }

    /// A server that is set up in this way and authenticates nobody.
    async fn behind(settings: Settings) -> Self {
        Self::open(Arc::new(MemoryJournal::new()), folder(), IdentitySettings::default(), settings).await
    }

    /// A server over rows and files that were there before.
    async fn over(journal: Arc<dyn Journal>, directory: Arc<tempfile::TempDir>) -> Self {
        Self::open(journal, directory, IdentitySettings::default(), Hosts::LoopbackAnd(Vec::new()).into()).await
    }

    async fn open(
        journal: Arc<dyn Journal>,
        directory: Arc<tempfile::TempDir>,
        identity: IdentitySettings,
        settings: Settings,
    ) -> Self {
        let journal = Riding::over(journal);
        let secrets = SecretStore::open(journal.clone(), &directory.path().join("key")).unwrap();
        let connections = Connections::open(journal.clone(), secrets.clone()).unwrap();
        let sandbox = sandbox(directory.path());
        let folder = directory.path().join("packs");
        let catalog = Catalog::open(journal.clone(), &folder, sandbox, Arc::new(Plain)).unwrap();
        let notifications = AllNotifications::open(journal.clone(), Arc::new(SystemClock)).unwrap();
        let services = Services::new(journal.clone(), catalog.clone(), Arc::new(SystemClock));
        let installed = InstalledPrograms { catalog: catalog.clone(), services: services.clone() };
        let keys = IdentityKeys { tokens: [1; 32], audit: [2; 32] };
        let identity = Identity::open(journal.clone(), Arc::new(SystemClock), &keys, identity).unwrap();
        let parts = Parts {
            journal: journal.clone(),
            clock: Arc::new(SystemClock),
            programs: Arc::new(Shelf::new(installed)),
            perform: Arc::new(Echo),
            evaluator: Arc::new(Plain),
            random: Box::new(|| 0.5),
            attempts_max: 8,
            events: Default::default(),
            closed: identity.tenants.closed(),
        };
        let coordinator = Coordinator::start(parts).await.unwrap();
        let stopping = Default::default();
        let rooms = Rooms::new(catalog, services, connections, secrets, coordinator, notifications, identity, stopping);
        let replays = Replays::open(journal.clone(), Arc::new(SystemClock)).unwrap();
        let router = super::router(rooms.clone(), settings, replays);
        Self { router, journal, rooms, _directory: directory }
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        Answer::read(self.send(request(method, path, headers, body)).await).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: Json) -> Answer {
        self.ask("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    async fn put(&self, path: &str, body: Json) -> Answer {
        self.ask("PUT", path, &[("content-type", "application/json")], body.to_string()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], "").await
    }
}

fn folder() -> Arc<tempfile::TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        Self { status: head.status, headers: head.headers, body }
    }

    fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The problem's name, after a look at the whole document.
    fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let document: super::problem::Document = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document.status, self.status.as_u16());
        assert!(!document.detail.is_empty() && document.instance.starts_with('/'), "{document:?}");
        assert_eq!(document.request_id.is_some(), self.status.is_server_error());
        document.kind.strip_prefix("/problems/").unwrap().to_owned()
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut builder =
        Request::builder().method(Method::try_from(method).unwrap()).uri(path).header("host", "localhost");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

fn sandbox(directory: &Path) -> Arc<Sandbox> {
    let config = SandboxConfig {
        cache_dir: directory.join("cache"),
        cache_key: [7; 32],
        memory_bytes_max: 1 << 20,
        attempts_max: 1,
    };
    Sandbox::new(config).unwrap()
}

/// Workflows of a pack `test` 1.0.0 that is not in the catalog: `echo` ends at once, `hang` never does, `fail` fails. Those of other
/// packs are the catalog's.
struct Shelf {
    installed: InstalledPrograms,
    echo: Arc<Program>,
    hang: Arc<Program>,
    fail: Arc<Program>,
}

impl Shelf {
    fn new(installed: InstalledPrograms) -> Self {
        let schema = json!({ "schema": { "required": ["size"] } });
        let echo = json!({ "input": schema, "do": [{ "one": { "call": "echo", "with": { "size": 1 } } }] });
        let hang = json!({ "do": [{ "one": { "call": "hang" } }] });
        let fail = json!({ "do": [{ "one": { "call": "fail" } }] });
        let [echo, hang, fail] = [echo, hang, fail].map(|flow| Arc::new(program(flow)));
        Self { installed, echo, hang, fail }
    }

    fn find(&self, name: &WorkflowName) -> Result<Arc<Program>, ProgramError> {
        match name.as_str() {
            "echo" => Ok(self.echo.clone()),
            "hang" => Ok(self.hang.clone()),
            "fail" => Ok(self.fail.clone()),
            _ => Err(ProgramError::NotFound(format!("there is no workflow `{name}`"))),
        }
    }
}

impl Programs for Shelf {
    fn resolve(
        &self,
        pack: &PackName,
        version: Option<&semver::Version>,
        workflow: &WorkflowName,
    ) -> Result<Resolved, ProgramError> {
        match pack.as_str() {
            "test" => Ok(Resolved { program: self.find(workflow)?, version: semver::Version::new(1, 0, 0) }),
            _ => self.installed.resolve(pack, version, workflow),
        }
    }

    fn pinned(&self, created: &Created) -> Result<Arc<Program>, ProgramError> {
        match created.pack.as_str() {
            "test" => self.find(&created.workflow),
            _ => self.installed.pinned(created),
        }
    }

    fn scheduled(&self) -> Vec<Scheduled> {
        self.installed.scheduled()
    }

    fn order(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        workflow: Option<&WorkflowName>,
        input: &Json,
    ) -> Result<Ordered, OrderError> {
        self.installed.order(tenant, service, workflow, input)
    }

    fn changes(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        self.installed.changes()
    }
}

/// Gives back what it is passed, or never answers.
struct Echo;

impl Perform for Echo {
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        async move {
            observer.log(crate::coordinator::perform::LogLevel::Info, "begun".to_owned());
            match attempt.call.callee.action().unwrap().action.as_str() {
                "hang" => std::future::pending().await,
                "fail" => {
                    let title = "no".to_owned();
                    let problem = Problem { kind: String::new(), status: 503, title, detail: String::new() };
                    Err(Failure { reaction: Reaction::Permanent, problem })
                }
                _ => Ok(Success { output: attempt.call.arguments, ..Success::default() }),
            }
        }
        .boxed()
    }

    fn probe(&self, _: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        std::future::ready(Ok(Finding::Unknown)).boxed()
    }
}
