//! Named connections: how an admin describes a way to an outside system, and the client that uses it. Addresses and
//! credentials never leave this room. It knows nothing of workflows.

mod authentication;
pub mod call;
pub mod client;
pub mod declaration;
mod hmac;
pub mod mail;
pub mod outside;
pub mod push;
pub mod registry;
pub mod secrets;
mod signature;
mod target;
mod token;
mod transport;

pub use registry::{ConnectionError, Connections};
pub use target::absolute;
pub(crate) use transport::client as http_client;
