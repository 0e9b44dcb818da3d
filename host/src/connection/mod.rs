//! Named connections: how an admin describes a way to an outside system, and the client that uses it. Addresses and
//! credentials never leave this room. It knows nothing of workflows.

pub mod declaration;
pub mod secrets;
pub mod registry;
pub mod client;
pub mod outside;
mod authentication;
mod signature;
mod target;
mod transport;

pub use registry::{ConnectionError, Connections};
pub use target::absolute;
