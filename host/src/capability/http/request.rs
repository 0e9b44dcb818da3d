//! A guest's request, checked: its grant, its method, its fields, its body. Nothing is sent here.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::super::wit::orchestrator::http::client::{Error, Header, Request};
use super::super::{Guest, denial};
use super::hashing;
use super::pace::{self, Pace};
use crate::connection::client::{Client, Outgoing, Payload, RESPONSE_BYTES_MAX, SendError, forbidden, refusal};
use crate::connection::outside::Outside;
use crate::model::ConnectionName;

/// A request's body in guest memory, bytes (WIT `orchestrator:http`).
const REQUEST_BYTES_MAX: usize = 8 << 20;

/// Fields of one request; servers commonly stop at 100.
const FIELDS_MAX: usize = 64;

/// All fields of one request, bytes; servers commonly stop at 8 or 16 KiB.
const FIELDS_BYTES_MAX: usize = 16 << 10;

/// A request that may be sent.
pub(super) struct Prepared {
    pub(super) way: Way,
    pub(super) outgoing: Outgoing,
    /// Set when a request that may have an effect goes out.
    pub(super) effect: Arc<AtomicBool>,
    /// How fast its answer is taken.
    pub(super) pace: Option<Arc<Pace>>,
    /// Whether its answer is hashed where it is the source of a transfer.
    pub(super) hashed: bool,
}

/// Which way a request goes.
pub(super) enum Way {
    Connection(Arc<Client>),
    Host(Arc<Outside>, Url),
}

impl Way {
    pub(super) fn response_bytes_max(&self) -> u64 {
        match self {
            Self::Connection(client) => client.response_bytes_max(),
            Self::Host(..) => RESPONSE_BYTES_MAX,
        }
    }
}

impl Guest {
    /// Checks a request.
    pub(super) fn prepare(&self, mut request: Request) -> Result<Prepared, Error> {
        let pace = self.http.paced(pace::asked(&mut request.headers)?);
        let hashed = hashing::asked(&mut request.headers)?;
        let way = self.way(&request)?;
        let method = method(&request.method)?;
        let headers = fields(&request.headers)?;
        let payload = match request.body {
            Some(body) if body.len() > REQUEST_BYTES_MAX => {
                let text = format!("the body is over {REQUEST_BYTES_MAX} bytes; send it by `start-transfer`");
                return Err(Error::InvalidRequest(text));
            }
            Some(body) => Payload::Bytes(body.into()),
            None => Payload::Empty,
        };
        let timeout = request.timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let idempotency_key = self.http.idempotency_key.clone();
        let outgoing = Outgoing { method, target: request.target, headers, payload, timeout, idempotency_key };
        if let Way::Connection(client) = &way {
            client.check(&outgoing).map_err(told)?;
        }
        Ok(Prepared { way, outgoing, effect: self.http.effect.clone(), pace, hashed })
    }

    /// Checks the second request of a transfer, whose body is the first one's response.
    pub(super) fn prepare_destination(&self, request: Request) -> Result<Prepared, Error> {
        if request.body.is_some() {
            return Err(Error::InvalidRequest("leave out the destination's body: it is the source's".to_owned()));
        }
        self.prepare(request)
    }

    fn way(&self, request: &Request) -> Result<Way, Error> {
        if !request.connection.is_empty() {
            let name = ConnectionName::parse(&request.connection).ok();
            return match name.and_then(|name| self.granted.connections.get(&name)) {
                Some(client) => Ok(Way::Connection(client.clone())),
                None => Err(Error::Denied(denial::connection(&self.granted, &request.connection))),
            };
        }
        let url = crate::connection::absolute(&request.target).map_err(Error::InvalidRequest)?;
        if !self.granted.hosts.iter().any(|pattern| pattern.matches(&url)) {
            return Err(Error::Denied(denial::host(&self.granted, &host_of(&url))));
        }
        Ok(Way::Host(self.http.outside.clone(), url))
    }
}

/// The pattern that would grant exactly this URL's host.
fn host_of(url: &Url) -> String {
    let scheme = if url.scheme() == "http" { "http://" } else { "" };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}{}{port}", url.host_str().unwrap_or_default())
}

fn method(text: &str) -> Result<Method, Error> {
    // `CONNECT` would make a tunnel and `TRACE` would show the host's fields.
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) | Err(_) => Err(Error::InvalidRequest(
            "use a method such as `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`".to_owned(),
        )),
        Ok(method) => Ok(method),
    }
}

fn fields(headers: &[Header]) -> Result<HeaderMap, Error> {
    let bytes: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    if headers.len() > FIELDS_MAX || bytes > FIELDS_BYTES_MAX {
        let text = format!("send at most {FIELDS_MAX} fields of {FIELDS_BYTES_MAX} bytes together");
        return Err(Error::InvalidRequest(text));
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| Error::InvalidRequest("write a field's name as HTTP allows it".to_owned()))?;
        if forbidden(&name) {
            return Err(Error::InvalidRequest(refusal(&name)));
        }
        let value = HeaderValue::from_str(&header.value)
            .map_err(|_| Error::InvalidRequest(format!("write the value of `{name}` in printable ASCII")))?;
        map.append(name, value);
    }
    Ok(map)
}

/// An error of sending in the words of the WIT.
pub(super) fn told(error: SendError) -> Error {
    match error {
        SendError::Invalid(text) => Error::InvalidRequest(text),
        SendError::Unavailable(text) => Error::Unavailable(text),
        SendError::Timeout(text) => Error::Timeout(text),
        SendError::Interrupted(text) => Error::Interrupted(text),
        SendError::TooLarge(bytes) => Error::TooLarge(bytes),
    }
}
