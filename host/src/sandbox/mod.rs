//! wasmtime: the engine, the component cache, one attempt, its limits, and an empty WASI. It knows nothing of workflows.

mod invocation;

use std::path::PathBuf;
use std::sync::Arc;

pub use invocation::{Invocation, Phase, Reply};

use crate::capability::{Granted, Observe};
use crate::model::{Digest, Failure};

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where compiled components are kept; made where it does not exist.
    pub cache_dir: PathBuf,
    /// Authenticates the files of the cache; see [`crate::connection::secrets::SecretStore::derive`].
    pub cache_key: [u8; 32],
    /// Linear memory of one attempt, bytes.
    pub memory_bytes_max: usize,
    /// Attempts that may run at the same time; more wait for a place.
    pub attempts_max: u32,
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
pub struct Component;

/// Runs attempts, each in a sandbox of its own.
pub struct Sandbox;

impl Sandbox {
    /// Sets up the engine and its pool.
    ///
    /// # Errors
    /// The machine lacks address space, or the cache directory cannot be made.
    pub fn new(_config: SandboxConfig) -> Result<Arc<Self>, SandboxError> {
        unreachable!("under construction")
    }

    /// The engine, for components that are no actions.
    pub fn engine(&self) -> &wasmtime::Engine {
        unreachable!("under construction")
    }

    /// Compiles a component of any world, or takes it from the cache.
    ///
    /// # Errors
    /// The bytes are no component.
    pub fn compile(&self, _digest: Digest, _bytes: &[u8]) -> Result<wasmtime::component::Component, SandboxError> {
        unreachable!("under construction")
    }

    /// Keeps the engine's epoch moving (one tick each 10 ms) until the guard is dropped.
    pub fn ticking(&self) -> Ticking {
        unreachable!("under construction")
    }

    /// Gives an action component ready to run: compiled once per digest, then from the cache.
    ///
    /// # Errors
    /// The bytes are no component, import something unknown, or do not export the action's handler.
    pub async fn load(&self, _digest: Digest, _bytes: &[u8]) -> Result<Arc<Component>, SandboxError> {
        unreachable!("under construction")
    }

    /// Runs one attempt. Dropping the future interrupts the guest at once.
    ///
    /// # Errors
    /// The action's own failure, or one of the standard types for a guest that traps, takes too long, uses too much
    /// memory or answers something that is not JSON.
    pub async fn attempt(
        &self,
        _component: &Component,
        _invocation: Invocation,
        _granted: Granted,
        _observer: Arc<dyn Observe>,
    ) -> Result<Reply, Failure> {
        unreachable!("under construction")
    }
}

/// Keeps the epoch moving while it lives.
pub struct Ticking;

/// The interfaces that a component really imports, as `namespace:package/interface@version`, without compiling it.
///
/// # Errors
/// The bytes are no component.
pub fn imports(_bytes: &[u8]) -> Result<Vec<String>, SandboxError> {
    unreachable!("under construction")
}
