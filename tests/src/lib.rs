//! The test harness: doubles of outside systems, the server as a child process, a REST client, and the programs that
//! show and measure the whole. Tests themselves are in `tests/tests`.

pub mod backstage;
pub mod binaries;
pub mod client;
#[cfg(target_os = "linux")]
pub mod guest_memory;
pub mod guests;
pub mod jira;
pub mod keep_alive;
pub mod keystone;
pub mod kubernetes;
pub mod language;
pub mod migration;
pub mod move2kube;
pub mod mta;
pub mod multicloud;
pub mod oidc;
pub mod published;
pub mod s3;
pub mod server;
pub mod smtp;
pub mod soda;
pub mod stage;

use std::sync::Once;

/// Chooses the process's TLS implementation once; every HTTP client of the harness calls it first.
pub fn tls_ready() {
    static READY: Once = Once::new();
    READY.call_once(|| {
        // Fails only when one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
