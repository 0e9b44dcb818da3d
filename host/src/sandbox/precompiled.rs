//! The one place with `unsafe`: taking machine code that was compiled earlier.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::Verified;

/// Loads a precompiled component.
///
/// # Errors
/// It was compiled by another version or configuration of the engine; wasmtime checks its own header.
#[expect(unsafe_code, reason = "wasmtime cannot check machine code; the type `Verified` is the check")]
pub(super) fn load(engine: &Engine, verified: &Verified) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be what `Component::serialize` gave. A `Verified` is only made by `cache.rs`, from bytes
    // in memory whose HMAC under this host's own key was just checked; whoever lacks the key cannot make such bytes,
    // and nobody else can change them any more.
    unsafe { Component::deserialize(engine, verified.bytes()) }
}
