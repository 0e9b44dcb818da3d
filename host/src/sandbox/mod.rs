//! wasmtime: the engine, the component cache, one attempt, its limits, and an empty WASI. It knows nothing of workflows.
//!
//! A guest gets a `wasmtime::Store` of its own for each attempt and nothing of the machine: what it reaches is in
//! `capability`. What it may use up is bounded in `limits.rs`, `engine.rs` and by the attempt's timeout.

mod attempt;
mod cache;
mod convert;
mod engine;
pub mod expression;
mod imports;
mod invocation;
mod limits;
mod precompiled;
mod state;
mod ticker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

pub use imports::imports;
pub use invocation::{Invocation, Phase, Reply};
pub use ticker::Ticking;

use crate::capability::http::Http;
use crate::capability::log::AttemptLog;
use crate::capability::mail::Mail;
use crate::capability::wit::ActionPre;
use crate::capability::{Granted, Guest, Observe};
use crate::connection::outside::Outside;
use crate::model::{Digest, Failure};
use cache::Cache;
use limits::Limits;
use state::State;
use ticker::Ticker;

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where compiled components are kept; made where it does not exist.
    pub cache_dir: PathBuf,
    /// Authenticates the files of the cache; see [`crate::connection::secrets::SecretStore::derive`].
    pub cache_key: [u8; 32],
    /// Linear memory of one attempt, bytes; [`SandboxConfig::MEMORY_BYTES_MAX`] is a good choice.
    pub memory_bytes_max: usize,
    /// Attempts that may run at the same time; more wait for a place.
    pub attempts_max: u32,
}

impl SandboxConfig {
    /// The usual limit of an attempt's memory: JSON of 4 MiB in and out, and a listing of many thousand objects, fit.
    pub const MEMORY_BYTES_MAX: usize = 64 << 20;
    /// The usual number of attempts at the same time; each reserves 4 GiB of addresses and uses what it touches.
    pub const ATTEMPTS_MAX: u32 = 512;
}

/// Why the sandbox cannot be set up, or a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The machine or the configuration does not allow it.
    #[error("set up the sandbox: {0}")]
    Engine(String),
    /// The bytes are no component, or one that this host cannot run.
    #[error("load component {digest}: {reason}")]
    Component {
        /// Which component.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
}

/// A component that is compiled and linked.
pub struct Component {
    digest: Digest,
    action: ActionPre<State>,
}

impl Component {
    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Component").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// Runs attempts, each in a sandbox of its own.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<State>,
    cache: Cache,
    ticker: Ticker,
    outside: Arc<Outside>,
    memory_bytes_max: usize,
    places: Semaphore,
    /// Components in use; one that nobody holds any more is loaded from the cache again.
    loaded: Mutex<HashMap<Digest, Weak<Component>>>,
    /// One compilation at a time: it uses every core.
    compiling: tokio::sync::Mutex<()>,
}

impl Sandbox {
    /// Sets up the engine and its pool.
    ///
    /// # Errors
    /// The machine lacks address space, or the cache directory cannot be made.
    pub fn new(config: SandboxConfig) -> Result<Arc<Self>, SandboxError> {
        let engine = engine::engine(&config)?;
        let mut linker = Linker::new(&engine);
        state::link(&mut linker).map_err(|error| SandboxError::Engine(error.to_string()))?;
        let cache = Cache::open(config.cache_dir, &config.cache_key, &engine)?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| SandboxError::Engine(error.to_string()))?;
        Ok(Arc::new(Self {
            linker,
            cache,
            ticker,
            outside: Arc::new(Outside::new().map_err(SandboxError::Engine)?),
            memory_bytes_max: config.memory_bytes_max,
            places: Semaphore::new(config.attempts_max as usize),
            loaded: Mutex::default(),
            compiling: tokio::sync::Mutex::default(),
            engine,
        }))
    }

    /// The engine, for components that are no actions. A store of it needs an epoch deadline and [`Sandbox::ticking`].
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Compiles a component of any world, or takes it from the cache. Takes time: not for an async thread.
    ///
    /// # Errors
    /// The bytes are no component, or not those of the digest.
    pub fn compile(&self, digest: Digest, bytes: &[u8]) -> Result<wasmtime::component::Component, SandboxError> {
        if Digest::of(bytes) != digest {
            let reason = "its bytes have another digest: the file was changed; install the pack again".to_owned();
            return Err(SandboxError::Component { digest, reason });
        }
        self.cache.get(&self.engine, digest, bytes)
    }

    /// Keeps the engine's epoch moving (one tick each 10 ms) until the guard is dropped.
    pub fn ticking(&self) -> Ticking {
        self.ticker.ticking()
    }

    /// Gives an action component ready to run: compiled once per digest, then from the cache.
    ///
    /// # Errors
    /// The bytes are no component, import something unknown, or do not export the action's handler.
    pub async fn load(self: &Arc<Self>, digest: Digest, bytes: &[u8]) -> Result<Arc<Component>, SandboxError> {
        if let Some(component) = self.in_use(digest) {
            return Ok(component);
        }
        let _compiling = self.compiling.lock().await;
        if let Some(component) = self.in_use(digest) {
            return Ok(component);
        }
        let (sandbox, bytes) = (self.clone(), bytes.to_vec());
        let component = tokio::task::spawn_blocking(move || sandbox.compile_action(digest, &bytes))
            .await
            .unwrap_or_else(|error| Err(SandboxError::Engine(error.to_string())))?;
        let component = Arc::new(component);
        let mut loaded = self.loaded.lock().expect("no holder of this lock panics");
        loaded.retain(|_, component| component.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&component));
        Ok(component)
    }

    /// Runs one attempt. Dropping the future interrupts the guest at once.
    ///
    /// # Errors
    /// The action's own failure, or one of the standard types: `timeout` past the deadline, `runtime` for a guest that
    /// traps, runs out of memory or answers something that is not JSON. Where a request that may have had an effect had
    /// been sent, the reaction is [`crate::model::Reaction::Unknown`]; else a deadline is transient, a trap permanent.
    pub async fn attempt(
        &self,
        component: &Component,
        invocation: Invocation,
        granted: Granted,
        observer: Arc<dyn Observe>,
    ) -> Result<Reply, Failure> {
        self.attempt_through(self.outside.clone(), component, invocation, granted, observer).await
    }

    /// The same through an outside of its own, for the hosts that were granted.
    ///
    /// # Errors
    /// See [`Sandbox::attempt`].
    pub async fn attempt_through(
        &self,
        outside: Arc<Outside>,
        component: &Component,
        invocation: Invocation,
        granted: Granted,
        observer: Arc<dyn Observe>,
    ) -> Result<Reply, Failure> {
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        let _ticking = self.ticking();
        let guest = Guest {
            granted,
            log: AttemptLog::new(observer.clone()),
            observer,
            table: state::table(),
            http: Http::new(outside, invocation.idempotency_key.clone()),
            mail: Mail::new(invocation.idempotency_key.clone()),
        };
        let state = State::new(guest, Limits::new(self.memory_bytes_max));
        attempt::run(&self.engine, &component.action, &invocation, state).await
    }

    fn in_use(&self, digest: Digest) -> Option<Arc<Component>> {
        self.loaded.lock().expect("no holder of this lock panics").get(&digest)?.upgrade()
    }

    fn compile_action(&self, digest: Digest, bytes: &[u8]) -> Result<Component, SandboxError> {
        let component = self.compile(digest, bytes)?;
        let refuse = |error: wasmtime::Error| SandboxError::Component { digest, reason: format!("{error:#}") };
        let linked = self.linker.instantiate_pre(&component).map_err(refuse)?;
        let action = ActionPre::new(linked).map_err(refuse)?;
        Ok(Component { digest, action })
    }
}
