//! Listeners: bound, asked for the next connection, and the connection made ready to be spoken over.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::figures::Figures;
use super::service_manager::Handed;
use super::tls::{self, Tls, TlsError};
use super::unix::UnixSocket;
use super::visitor::Visitor;

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A pause after a failed accept, which mostly means that no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// TCP addresses.
    pub addresses: Vec<SocketAddr>,
    /// A unix socket with its mode.
    pub unix: Option<(PathBuf, u32)>,
    /// With it, every TCP connection is encrypted.
    pub tls: Option<tls::Files>,
}

/// Why it cannot be listened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// An address or path cannot be had.
    #[error("listen on {place}")]
    Bind {
        /// The address or path.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nothing was to be listened on.
    #[error("listen: no address and no socket is configured; give `--listen` or `--listen-unix`")]
    Nowhere,
}

/// Everything that is listened on.
#[derive(Debug)]
pub struct Doors {
    /// One for each address and socket.
    pub listeners: Vec<Listener>,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<Tls>>,
    /// What happens here.
    pub figures: Arc<Figures>,
}

impl Doors {
    /// Binds what the plan says, beside what was handed over.
    ///
    /// # Errors
    /// An address cannot be had, or the certificate cannot be used.
    pub async fn open(plan: &Plan, handed: Handed) -> Result<Self, DoorError> {
        let tls = plan.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
        let mut listeners = Vec::new();
        for address in &plan.addresses {
            let listener = TcpListener::bind(address).await.map_err(bind(address))?;
            listeners.push(Listener::tcp(listener, tls.clone()).map_err(bind(address))?);
        }
        if let Some((path, mode)) = &plan.unix {
            listeners.push(Listener::Unix(UnixSocket::bind(path, *mode).map_err(bind(&path.display()))?));
        }
        let handed_over = |source| DoorError::Bind { place: "the sockets that were handed over".to_owned(), source };
        for listener in handed.tcp {
            let listener = TcpListener::from_std(listener).map_err(handed_over)?;
            listeners.push(Listener::tcp(listener, tls.clone()).map_err(handed_over)?);
        }
        for listener in handed.unix {
            listeners.push(Listener::HandedUnix(UnixListener::from_std(listener).map_err(handed_over)?));
        }
        let figures = Arc::new(Figures::default());
        figures.certificate(tls.as_ref().and_then(|tls| tls.expires()));
        if listeners.is_empty() { Err(DoorError::Nowhere) } else { Ok(Self { listeners, tls, figures }) }
    }

    /// The TCP addresses.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter_map(|listener| match listener {
            Listener::Tcp { address, .. } => Some(*address),
            Listener::Unix(_) | Listener::HandedUnix(_) => None,
        })
    }

    /// The base URLs, one for each listener; a unix socket's is `unix:PATH`.
    pub fn urls(&self) -> Vec<String> {
        self.listeners.iter().map(ToString::to_string).collect()
    }
}

fn bind(place: &impl fmt::Display) -> impl FnOnce(io::Error) -> DoorError {
    let place = place.to_string();
    move |source| DoorError::Bind { place, source }
}

/// One place where connections come in.
#[derive(Debug)]
pub enum Listener {
    /// An address.
    Tcp {
        /// What accepts.
        listener: TcpListener,
        /// Where.
        address: SocketAddr,
        /// TLS, where it is spoken.
        tls: Option<Arc<Tls>>,
    },
    /// A unix socket of ours.
    Unix(UnixSocket),
    /// A unix socket that somebody else made.
    HandedUnix(UnixListener),
}

impl fmt::Display for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, tls: None, .. } => write!(formatter, "http://{address}"),
            Self::Tcp { address, tls: Some(_), .. } => write!(formatter, "https://{address}"),
            Self::Unix(socket) => write!(formatter, "unix:{}", socket.path().display()),
            Self::HandedUnix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname()).unwrap_or(Path::new(""));
                write!(formatter, "unix:{}", path.display())
            }
        }
    }
}

impl Listener {
    /// A TCP listener.
    ///
    /// # Errors
    /// It has no address.
    pub fn tcp(listener: TcpListener, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        Ok(Self::Tcp { address: listener.local_addr()?, listener, tls })
    }

    /// The next connection. Failures of single connections are passed over; others are logged, and tried again.
    pub async fn accept(&self) -> Accepted {
        loop {
            match self.accept_once().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, listener = %self, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept_once(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp { listener, tls, .. } => {
                let (stream, address) = listener.accept().await?;
                // Without it, Nagle's algorithm and delayed acknowledgements add about 40 ms to a small answer. A
                // connection that is gone already says so at the first read.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp { stream, address, tls: tls.clone() })
            }
            Self::Unix(socket) => Ok(Accepted::Unix(socket.listener.accept().await?.0)),
            Self::HandedUnix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A connection that came in and was not spoken over yet.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp {
        /// The connection.
        stream: TcpStream,
        /// The other end.
        address: SocketAddr,
        /// TLS, where it is spoken.
        tls: Option<Arc<Tls>>,
    },
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Accepted {
    /// Makes it ready to be spoken over, which for TLS takes a handshake: not for the loop that accepts.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn open(self, figures: &Figures) -> io::Result<(Box<dyn Stream>, Visitor)> {
        match self {
            Self::Unix(stream) => Ok((Box::new(stream), Visitor::unix())),
            Self::Tcp { stream, address, tls: None } => Ok((Box::new(stream), Visitor::at(address))),
            Self::Tcp { stream, address, tls: Some(tls) } => {
                let stream = tls.accept(stream).await.inspect_err(|_| figures.handshake_failed())?;
                let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
                let visitor = Visitor { address: Some(address), encrypted: true, certificate };
                Ok((Box::new(stream), visitor))
            }
        }
    }
}
