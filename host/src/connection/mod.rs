//! Named connections: how an admin describes a way to an outside system, and the client that uses it. Addresses and
//! credentials never leave this room. It knows nothing of workflows.

pub mod client;
pub mod declaration;
pub mod registry;
pub mod secrets;

pub use registry::{ConnectionError, Connections};
