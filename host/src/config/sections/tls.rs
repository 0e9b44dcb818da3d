//! How connections are encrypted.

use std::path::PathBuf;

use crate::config::setting::settings;
use crate::door::tls::Files;

settings! {
    /// How connections over TCP are encrypted; unix sockets never are. The files are read again when they change, and at
    /// SIGHUP; where the new ones cannot be used, the old ones stay and the log says why.
    pub struct Tls titled "TLS" {
        /// The server's certificate with its chain, in PEM. With it every address speaks TLS 1.2 or 1.3 only.
        certificate as "tls.certificate": Option<PathBuf>,
        /// The certificate's private key, in PEM.
        key as "tls.key": Option<PathBuf>,
        /// Certificates of authorities, in PEM. With them, a client must show a certificate that one of them signed.
        client_ca as "tls.clientCa": Option<PathBuf>,
    }
}

impl Tls {
    /// The files, where TLS is spoken.
    pub fn files(&self) -> Option<Files> {
        let (certificate, key) = (self.certificate.clone()?, self.key.clone()?);
        Some(Files { certificate, key, client_ca: self.client_ca.clone() })
    }
}
