//! What the tests of the guest boundary share: a sandbox with chosen grants, an observer, and an outside that keeps what
//! it was asked.

mod outside;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use orchestrator_host::capability::{Granted, HostPattern, LogLevel, Measure, Observe};
use orchestrator_host::connection::Connections;
use orchestrator_host::connection::secrets::{SecretStore, Secrets};
use orchestrator_host::journal::memory::MemoryJournal;
use orchestrator_host::model::{ActionName, ConnectionName, Digest, Failure, Json, PackName, SecretName, TenantName};
use orchestrator_host::sandbox::{Component, Invocation, Phase, Reply, Sandbox, SandboxConfig};
use orchestrator_tests::guests;

pub use outside::Outside;

/// Keeps what an attempt tells.
#[derive(Default)]
pub struct Told {
    log: Mutex<String>,
    pub checkpoints: Mutex<Vec<Json>>,
    pub revealed: Mutex<Vec<String>>,
}

impl Told {
    pub fn text(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Observe for Told {
    fn log(&self, _: LogLevel, message: String) {
        let mut log = self.log.lock().unwrap();
        log.push_str(&message);
        log.push('\n');
    }
    fn progress(&self, _: Vec<Measure>, _: Option<String>) {}
    fn checkpoint(&self, value: Json) -> BoxFuture<'static, Result<(), String>> {
        self.checkpoints.lock().unwrap().push(value);
        Box::pin(async { Ok(()) })
    }
    fn secret_revealed(&self, secret: String) -> BoxFuture<'static, Result<(), String>> {
        self.revealed.lock().unwrap().push(secret);
        Box::pin(async { Ok(()) })
    }
    fn cancelled(&self) -> bool {
        false
    }
}

/// A sandbox with the guests loaded, and what they are granted.
pub struct Boundary {
    directory: tempfile::TempDir,
    sandbox: Arc<Sandbox>,
    component: Arc<Component>,
    secrets: Secrets,
    connections: Arc<Connections>,
    granted: Granted,
    timeout: Duration,
    pub observer: Arc<Told>,
}

impl Boundary {
    /// Grants nothing.
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // One cache for all tests of a run: the guests are compiled once.
        let cache_dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-boundary-cache");
        let config = SandboxConfig {
            cache_dir,
            cache_key: [7; 32],
            memory_bytes_max: SandboxConfig::MEMORY_BYTES_MAX,
            attempts_max: 8,
        };
        let sandbox = Sandbox::new(config).unwrap();
        let bytes = guests::component();
        let component = sandbox.load(Digest::of(bytes), bytes).await.unwrap();
        let journal = Arc::new(MemoryJournal::new());
        let secrets = SecretStore::open(journal.clone(), &directory.path().join("key")).unwrap();
        let connections = Connections::open(journal, secrets.clone()).unwrap();
        let secrets = secrets.of(&TenantName::standard());
        let granted = Granted::nothing(PackName::parse("guests").unwrap(), ActionName::parse("guest").unwrap());
        let (timeout, observer) = (Duration::from_secs(60), Arc::default());
        Self { directory, sandbox, component, secrets, connections, granted, timeout, observer }
    }

    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    pub fn host(mut self, pattern: &str) -> Self {
        self.granted.hosts.push(HostPattern::parse(pattern).unwrap());
        self
    }

    pub async fn connection(mut self, name: &str, declaration: Json) -> Self {
        let name = ConnectionName::parse(name).unwrap();
        self.connections
            .put(&TenantName::standard(), &name, serde_json::from_value(declaration).unwrap())
            .await
            .unwrap();
        self.granted.connections.insert(name.clone(), self.connections.client(&TenantName::standard(), &name).unwrap());
        self
    }

    pub async fn stored(self, name: &str, value: &str) -> Self {
        self.secrets.put(&SecretName::parse(name).unwrap(), value.as_bytes()).await.unwrap();
        self
    }

    pub async fn secret(mut self, name: &str, stored: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self = self.stored(stored, value).await;
        }
        self.granted
            .secrets
            .extend(BTreeMap::from([(SecretName::parse(name).unwrap(), SecretName::parse(stored).unwrap())]));
        self.granted.secret_store = Some(self.secrets.clone());
        self
    }

    pub async fn phase(&self, guest: &str, phase: Phase) -> Result<Reply, Failure> {
        let invocation = Invocation {
            action: ActionName::parse(guest).unwrap(),
            phase,
            instance: "instance-1".to_owned(),
            task: "/do/0/call".to_owned(),
            idempotency_key: "key-1".to_owned(),
            attempt: 1,
            timeout: self.timeout,
            checkpoint: None,
        };
        let observer = self.observer.clone();
        self.sandbox.attempt(&self.component, invocation, self.granted.clone(), observer).await
    }

    pub async fn run(&self, guest: &str, input: Json) -> Result<Json, Failure> {
        match self.phase(guest, Phase::Run(input)).await? {
            Reply::Succeeded(success) => Ok(success.output),
            reply => panic!("{reply:?}"),
        }
    }

    pub async fn output(&self, guest: &str, input: Json) -> Json {
        self.run(guest, input).await.unwrap_or_else(|failure| panic!("{failure:?}\n{}", self.observer.text()))
    }

    pub async fn loaded_twice(&self) -> bool {
        let bytes = guests::component();
        let again = self.sandbox.load(Digest::of(bytes), bytes).await.unwrap();
        self.directory.path().exists() && Arc::ptr_eq(&again, &self.component)
    }
}
