//! Who is at the other end of a connection.

use std::fmt;
use std::net::SocketAddr;

use rustls_pki_types::CertificateDer;

/// The other end of a connection; an extension of each of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// Its address; a unix socket has none.
    pub address: Option<SocketAddr>,
    /// Whether it speaks TLS.
    pub encrypted: bool,
    /// The certificate that it showed, verified against the authorities that were configured.
    pub certificate: Option<CertificateDer<'static>>,
}

impl Visitor {
    /// The other end of a TCP connection without TLS.
    pub fn at(address: SocketAddr) -> Self {
        Self { address: Some(address), encrypted: false, certificate: None }
    }

    /// The other end of a unix socket.
    pub fn unix() -> Self {
        Self { address: None, encrypted: false, certificate: None }
    }

    /// Whether it is on this machine: at a loopback address or a unix socket.
    pub fn is_local(&self) -> bool {
        self.address.is_none_or(|address| address.ip().to_canonical().is_loopback())
    }
}

impl fmt::Display for Visitor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(formatter, "{}", address.ip().to_canonical()),
            None => formatter.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_loopback_or_a_unix_socket() {
        for (address, local) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(Visitor::at(address.parse().unwrap()).is_local(), local, "{address}");
        }
        assert!(Visitor::unix().is_local());
        assert_eq!(Visitor::at("[::ffff:10.0.0.1]:5".parse().unwrap()).to_string(), "10.0.0.1");
    }
}
