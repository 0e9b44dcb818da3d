//! The outgoing side of HTTP: one `reqwest` client with this project's settings, and its errors sorted by what a caller
//! can do. Redirects, cookies, proxies from the environment and decompression are deliberately off: what is sent and
//! received is exactly what was asked for.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;
use reqwest::dns::Resolve;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::mail::{Letter, MailError, Sent};

/// Connecting, TLS included, takes at most this long; a longer wait only hides that the other side is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections are closed after this time; servers commonly close theirs after 60 s or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A streamed body that somebody answers in the place of the outside is held in memory up to this many bytes; tests of
/// packs move little.
const STREAMED_BYTES_MAX: u64 = 64 << 20;

/// Answers requests in the place of the outside: what packs are tested with.
pub trait StandIn: Send + Sync + 'static {
    /// Answers a request, which has the URL that would have been asked.
    fn answer(&self, request: http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Bytes>, SendError>>;

    /// Takes a message as an action wrote it; nobody does by default.
    fn mail(&self, _: Letter) -> BoxFuture<'static, Result<Sent, MailError>> {
        Box::pin(std::future::ready(Err(MailError::Unavailable("nobody takes mail here".to_owned()))))
    }
}

/// How requests leave.
#[derive(Clone)]
pub(super) enum Carrier {
    /// Over the network.
    Network(reqwest::Client),
    /// To somebody who answers in this process.
    StandIn(Arc<dyn StandIn>),
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Network(_) => "Network",
            Self::StandIn(_) => "StandIn",
        })
    }
}

/// Why there is no response, sorted by what a caller can do. Texts have neither addresses nor credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// Nothing was sent.
    #[error("{0}")]
    Unavailable(String),
    /// Time ran out after something may have been sent.
    #[error("{0}")]
    Timeout(String),
    /// Broke after something may have been sent.
    #[error("{0}")]
    Interrupted(String),
    /// The response's body is larger than this many bytes.
    #[error("the response is larger than {0} bytes")]
    TooLarge(u64),
}

/// A request's body.
#[derive(Debug)]
pub enum Payload {
    /// None.
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// A stream of known length.
    Stream(reqwest::Body),
}

/// A response whose body has not been read. Holds its place among the connection's exchanges until dropped.
#[derive(Debug)]
pub struct Incoming {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, as received.
    pub headers: HeaderMap,
    /// The length that the other side announced.
    pub length: Option<u64>,
    response: reqwest::Response,
    deadline: Instant,
    permit: Option<OwnedSemaphorePermit>,
}

/// Makes the client: HTTP/1.1 with kept connections, TLS by rustls with ring.
///
/// # Errors
/// The certificates are not PEM or not certificates; the text says so.
pub(crate) fn client(ca: Option<&str>, resolver: Option<Arc<dyn Resolve>>) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(ca)?)
        // One exchange a connection: its flow is TCP's own, and abandoning it disturbs no other.
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy();
    if let Some(resolver) = resolver {
        builder = builder.dns_resolver(resolver);
    }
    builder.build().map_err(|error| format!("make an HTTP client: {}", error.without_url()))
}

fn tls(ca: Option<&str>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| format!("read the certificates: {error}"))?;
                roots.add(certificate).map_err(|error| format!("take a certificate: {error}"))?;
            }
            if roots.is_empty() {
                return Err("put at least one PEM block `BEGIN CERTIFICATE` into it".to_owned());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("set up TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Sends one request and waits for the response's head, until `deadline` at most.
pub(super) async fn send(
    carrier: &Carrier,
    method: Method,
    url: Url,
    headers: HeaderMap,
    payload: Payload,
    deadline: Instant,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Incoming, SendError> {
    let sending = async {
        match carrier {
            Carrier::Network(client) => {
                let request = client.request(method, url).headers(headers);
                let request = match payload {
                    Payload::Empty => request,
                    Payload::Bytes(bytes) => request.body(bytes),
                    Payload::Stream(body) => request.body(body),
                };
                request.send().await.map_err(sort)
            }
            Carrier::StandIn(stand_in) => ask(stand_in.as_ref(), method, url, headers, payload).await,
        }
    };
    let response = match tokio::time::timeout_at(deadline.into(), sending).await {
        Ok(sent) => sent?,
        Err(_) => return Err(SendError::Timeout("no response within the request's time".to_owned())),
    };
    Ok(Incoming {
        status: response.status(),
        headers: response.headers().clone(),
        length: announced(&response),
        response,
        deadline,
        permit,
    })
}

/// Asks somebody who answers in the place of the outside.
async fn ask(
    stand_in: &dyn StandIn,
    method: Method,
    url: Url,
    headers: HeaderMap,
    payload: Payload,
) -> Result<reqwest::Response, SendError> {
    let body = match payload {
        Payload::Empty => Bytes::new(),
        Payload::Bytes(bytes) => bytes,
        Payload::Stream(body) => gathered(body).await?,
    };
    let request = http::Request::builder().method(method).uri(url.as_str()).body(body);
    let mut request = request.map_err(|_| SendError::Invalid("write a request that HTTP allows".to_owned()))?;
    *request.headers_mut() = headers;
    Ok(stand_in.answer(request).await?.into())
}

async fn gathered(mut body: reqwest::Body) -> Result<Bytes, SendError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(sort)?.into_data() else { continue };
        if (whole.len() + data.len()) as u64 > STREAMED_BYTES_MAX {
            return Err(SendError::TooLarge(STREAMED_BYTES_MAX));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The announced length; only present where the body is framed by it.
fn announced(response: &reqwest::Response) -> Option<u64> {
    response.content_length()
}

impl Incoming {
    /// Reads the body into memory.
    ///
    /// # Errors
    /// It is longer than `bytes_max`, breaks off, or does not end in time.
    pub async fn collect(self, bytes_max: u64) -> Result<Bytes, SendError> {
        if self.length.is_some_and(|length| length > bytes_max) {
            return Err(SendError::TooLarge(bytes_max));
        }
        let deadline = self.deadline;
        match tokio::time::timeout_at(deadline.into(), self.read(bytes_max)).await {
            Ok(read) => read,
            Err(_) => Err(SendError::Timeout("the response did not end within the request's time".to_owned())),
        }
    }

    async fn read(mut self, bytes_max: u64) -> Result<Bytes, SendError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.response.chunk().await.map_err(sort)? {
            if (whole.len() + chunk.len()) as u64 > bytes_max {
                return Err(SendError::TooLarge(bytes_max));
            }
            if whole.is_empty() && self.length == Some(chunk.len() as u64) {
                return Ok(chunk); // The whole body in one piece, as small ones come: no copy.
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The body as a stream, with the place among the exchanges, to be held as long as the stream is read.
    pub fn into_body(self) -> (reqwest::Body, Option<OwnedSemaphorePermit>) {
        (self.response.into(), self.permit)
    }

    /// When the request's time is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Sorts a client's error. The original goes to the server's log only: it may name addresses.
pub(super) fn sort(error: reqwest::Error) -> SendError {
    let error = error.without_url();
    tracing::debug!(error = ?error, "an exchange with the outside failed");
    if error.is_builder() {
        return SendError::Invalid("write a request that HTTP allows".to_owned());
    }
    if error.is_connect() || error.is_dns() {
        return SendError::Unavailable(cause_of_no_connection(&error));
    }
    if error.is_timeout() {
        return SendError::Timeout("the other side did not answer in time".to_owned());
    }
    SendError::Interrupted("the connection broke before the whole response was there".to_owned())
}

fn cause_of_no_connection(error: &reqwest::Error) -> String {
    if error.is_dns() {
        return "the host's name could not be resolved, or only to addresses that are not allowed".to_owned();
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return format!("TLS failed: {}", tls_cause(tls));
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return format!("TLS failed: {}", tls_cause(tls));
            }
            return format!("no connection: {}", io.kind());
        }
        source = cause.source();
    }
    "no connection".to_owned()
}

/// rustls names the host in some of its texts, so only the kind is told.
fn tls_cause(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(_) => "the certificate is not trusted; check the connection's caCertificates",
        rustls::Error::AlertReceived(_) => "the other side refused",
        _ => "the two sides did not agree",
    }
}
