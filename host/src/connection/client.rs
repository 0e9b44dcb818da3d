//! The live client of one connection.

/// Sends a connection's requests.
#[derive(Debug)]
pub struct Client;
