//! TLS: the certificate, its renewal while the server runs, and handshakes that take no longer than they may.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::{self, Urgency};

/// How long a handshake may take: some round trips of the slowest network.
const HANDSHAKE_SECONDS_MAX: Duration = Duration::from_secs(10);

/// What is spoken over TLS. The bounds on heads and on idle connections are HTTP/1.1's.
const PROTOCOL: &[u8] = b"http/1.1";

/// Where the certificate and what belongs to it are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate with its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients, where clients must show certificates.
    pub client_ca: Option<PathBuf>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read `{path}`: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("find {what} in `{path}`: {cure}")]
    Content {
        /// `a certificate`, `a private key`
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What to do.
        cure: String,
    },
    /// Certificate and key do not fit, or one of them is of a kind that is not spoken.
    #[error("use the certificate `{certificate}` with the key `{key}`: {reason}")]
    Unfit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// What was read out of the files.
#[derive(Debug, Clone)]
struct Material {
    config: Arc<ServerConfig>,
    expires: Option<Timestamp>,
    changed: Vec<Option<SystemTime>>,
}

/// The server's side of TLS.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    handshake_max: Duration,
    material: RwLock<Material>,
}

/// What became of a look at the files.
#[derive(Debug)]
pub enum Renewal {
    /// They are as they were.
    Unchanged,
    /// The new certificate is shown from now on.
    Renewed,
    /// The new files cannot be used; the old certificate stays.
    Refused(TlsError),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, or do not fit each other.
    pub fn open(files: Files) -> Result<Self, TlsError> {
        let material = RwLock::new(load(&files)?);
        Ok(Self { files, handshake_max: HANDSHAKE_SECONDS_MAX, material })
    }

    /// Until when the certificate is valid, where that can be read.
    pub fn expires(&self) -> Option<Timestamp> {
        self.material.read().unwrap_or_else(PoisonError::into_inner).expires
    }

    /// How urgent its renewal is.
    pub fn urgency(&self, now: Timestamp) -> Urgency {
        self.expires().map_or(Urgency::None, |until| Urgency::at(now, until))
    }

    /// Reads the files again, where they changed or `asked`. Connections that are open keep what they have.
    pub fn renew(&self, asked: bool) -> Renewal {
        let changed = changed(&self.files);
        if !asked && self.material.read().unwrap_or_else(PoisonError::into_inner).changed == changed {
            return Renewal::Unchanged;
        }
        let loaded = load(&self.files);
        let mut material = self.material.write().unwrap_or_else(PoisonError::into_inner);
        match loaded {
            Ok(new) => {
                *material = new;
                Renewal::Renewed
            }
            Err(error) => {
                // Said once: the next look is at another change.
                material.changed = changed;
                Renewal::Refused(error)
            }
        }
    }

    /// Shakes hands, within its time.
    ///
    /// # Errors
    /// The other end speaks no TLS, shows no acceptable certificate, or takes too long.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = self.material.read().unwrap_or_else(PoisonError::into_inner).config.clone();
        let handshake = TlsAcceptor::from(config).accept(stream);
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
        tokio::time::timeout(self.handshake_max, handshake).await.map_err(late)?
    }
}

fn changed(files: &Files) -> Vec<Option<SystemTime>> {
    let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()].into_iter().flatten().map(modified).collect()
}

fn load(files: &Files) -> Result<Material, TlsError> {
    // The times come first: a change while the files are read is seen at the next look.
    let changed = changed(files);
    let chain = certificates(&files.certificate)?;
    let expires = chain.first().and_then(|first| certificate::validity(first)).map(|validity| validity.until);
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|_| content("a private key", &files.key))?;
    let unfit =
        |reason: String| TlsError::Unfit { certificate: files.certificate.clone(), key: files.key.clone(), reason };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(error.to_string()))?;
    let builder = match &files.client_ca {
        Some(path) => {
            let roots = Arc::new(roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|_| content("a certificate", path))?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| unfit(reason(&error)))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Material { config: Arc::new(config), expires, changed })
}

fn reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key belongs to another certificate; name the one it was made with".to_owned()
        }
        other => other.to_string(),
    }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|_| content("a certificate", path))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| content("a certificate", path))
}

fn content(what: &'static str, path: &Path) -> TlsError {
    let cure = "give a file in PEM, whose blocks begin with `-----BEGIN`; a key must not have a passphrase".to_owned();
    TlsError::Content { what, path: path.to_owned(), cure }
}

/// A chain has some kilobytes; what is larger is another file.
const FILE_BYTES_MAX: u64 = 4 << 20;

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use io::Read as _;
    let fault = |source| TlsError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    std::fs::File::open(path).map_err(fault)?.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(fault)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
