//! Where connections come in: addresses, a unix socket, sockets that systemd hands over, TLS. It binds, accepts and shakes
//! hands, and tells who is at the other end; what is spoken over a connection is no concern of it.

pub mod certificate;
pub mod figures;
pub mod listener;
pub mod patience;
pub mod renewal;
pub mod service_manager;
pub mod tls;
pub mod unix;
pub mod visitor;

pub use figures::Figures;
pub use listener::{Accepted, Doors, Listener, Stream};
pub use visitor::Visitor;
