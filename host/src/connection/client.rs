//! The live client of one connection: takes what a guest asked for, puts it below the base URL, authenticates it, sends
//! it, and takes out of the response what a guest must not see. A circuit breaker would stand at the door of
//! [`Client::send`], where every exchange of a connection passes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use super::authentication::{authenticate, reserves};
use super::declaration::Connection;
use super::mail::Mailer;
use super::secrets::Secrets;
use super::signature::SignedBody;
use super::token::Tokens;
use super::transport::Carrier;
pub use super::transport::{Incoming, Payload, SendError, StandIn};
use super::{target, transport};
use crate::clock::{Clock as _, SystemClock};
use crate::model::ConnectionName;

/// A response's body may not be larger than this in guest memory, bytes, whatever a connection says.
pub const RESPONSE_BYTES_MAX: u64 = 8 << 20;

/// Sends a connection's requests.
pub struct Client {
    name: ConnectionName,
    declaration: Connection,
    secrets: Secrets,
    carrier: Carrier,
    places: Arc<Semaphore>,
    /// Of a connection of kind `smtp`.
    mailer: Option<Mailer>,
    tokens: Tokens,
}

/// A request on its way out, below a connection's base URL.
#[derive(Debug)]
pub struct Outgoing {
    /// Its method.
    pub method: Method,
    /// Path and query below the base URL.
    pub target: String,
    /// The guest's fields; see [`forbidden`].
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Payload,
    /// For the whole exchange; the connection's own time where absent, and never more.
    pub timeout: Option<Duration>,
    /// Put into the connection's idempotency header on POST and PATCH.
    pub idempotency_key: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes the client of a valid declaration. Nothing is sent.
    ///
    /// # Errors
    /// The certificates cannot be used; the text says why.
    pub fn new(name: ConnectionName, declaration: Connection, secrets: Secrets) -> Result<Self, String> {
        let carrier = Carrier::Network(transport::client(declaration.ca_certificates.as_deref(), None)?);
        let mut client = Self::over(name, declaration, secrets, carrier);
        client.mailer = client.new_mailer()?;
        Ok(client)
    }

    /// The client of a connection behind which nobody is but `stand_in`.
    pub fn standing_in(
        name: ConnectionName,
        declaration: Connection,
        secrets: Secrets,
        stand_in: Arc<dyn StandIn>,
    ) -> Self {
        let mut client = Self::over(name, declaration, secrets, Carrier::StandIn(stand_in.clone()));
        // Without certificates nothing can be wrong with one.
        client.mailer = client.new_mailer().ok().flatten().map(|mailer| mailer.standing_in(stand_in));
        client
    }

    fn over(name: ConnectionName, declaration: Connection, secrets: Secrets, carrier: Carrier) -> Self {
        let places = Arc::new(Semaphore::new(declaration.exchanges_max.max(1) as usize));
        Self { name, declaration, secrets, carrier, places, mailer: None, tokens: Tokens::default() }
    }

    fn new_mailer(&self) -> Result<Option<Mailer>, String> {
        let Some(settings) = &self.declaration.mail else { return Ok(None) };
        Mailer::new(&self.name, &self.declaration, settings, self.secrets.clone(), self.places.clone()).map(Some)
    }

    /// The connection's name as the admin gave it.
    pub fn name(&self) -> &ConnectionName {
        &self.name
    }

    /// What sends mail, where the connection is of kind `smtp`.
    pub fn mailer(&self) -> Option<&Mailer> {
        self.mailer.as_ref()
    }

    /// Response bytes that a guest may receive at once.
    pub fn response_bytes_max(&self) -> u64 {
        self.declaration.response_bytes_max.min(RESPONSE_BYTES_MAX)
    }

    /// Checks what a guest asked for without sending anything.
    ///
    /// # Errors
    /// [`SendError::Invalid`]: the target or a field is not allowed; the text says what to change.
    pub fn check(&self, outgoing: &Outgoing) -> Result<(), SendError> {
        if self.declaration.mail.is_some() {
            let text = "send mail through this connection, not requests: it leads to a mail server";
            return Err(SendError::Invalid(text.to_owned()));
        }
        self.url(&outgoing.target)?;
        match outgoing.headers.keys().find(|name| reserves(&self.declaration.authentication, name)) {
            Some(name) => Err(SendError::Invalid(refusal(name))),
            None => Ok(()),
        }
    }

    /// Sends a request and waits for the response's head, with the fields a guest must not see taken out.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, outgoing: Outgoing) -> Result<Incoming, SendError> {
        self.check(&outgoing)?;
        let limit = Duration::from_millis(self.declaration.timeout_ms);
        let deadline = Instant::now() + outgoing.timeout.map_or(limit, |asked| asked.min(limit));
        let place = tokio::time::timeout_at(deadline.into(), self.places.clone().acquire_owned());
        let Ok(Ok(permit)) = place.await else {
            let max = self.declaration.exchanges_max;
            return Err(SendError::Unavailable(format!(
                "all {max} exchanges of connection `{}` are in use",
                self.name
            )));
        };
        let (url, mut headers) = self.authenticated(&outgoing)?;
        let scheme = &self.declaration.authentication;
        let token = self.tokens.authorization(scheme, &self.secrets, &self.carrier, deadline).await?;
        headers.extend(token.map(|token| (header::AUTHORIZATION, token)));
        let Outgoing { method, payload, .. } = outgoing;
        let mut incoming =
            transport::send(&self.carrier, method, url, headers, payload, deadline, Some(permit)).await?;
        if incoming.status == StatusCode::UNAUTHORIZED {
            self.tokens.forget().await;
        }
        self.clean(&mut incoming.headers);
        Ok(incoming)
    }

    fn url(&self, target: &str) -> Result<Url, SendError> {
        target::join(&self.declaration.base_url, target).map_err(SendError::Invalid)
    }

    fn authenticated(&self, outgoing: &Outgoing) -> Result<(Url, HeaderMap), SendError> {
        let mut url = self.url(&outgoing.target)?;
        let mut headers = outgoing.headers.clone();
        if let Some((name, value)) = self.idempotency(outgoing) {
            headers.insert(name, value);
        }
        let body = match &outgoing.payload {
            Payload::Empty => SignedBody::Bytes(b""),
            Payload::Bytes(bytes) => SignedBody::Bytes(bytes),
            Payload::Stream(_) => SignedBody::Unsigned,
        };
        let now = std::time::SystemTime::from(SystemClock.now());
        let scheme = &self.declaration.authentication;
        authenticate(scheme, &self.secrets, &outgoing.method, &mut url, &mut headers, &body, now)?;
        Ok((url, headers))
    }

    fn idempotency(&self, outgoing: &Outgoing) -> Option<(HeaderName, HeaderValue)> {
        let name = self.declaration.idempotency_header.as_ref()?;
        if !matches!(outgoing.method, Method::POST | Method::PATCH) {
            return None;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&outgoing.idempotency_key).ok()?))
    }

    fn clean(&self, headers: &mut HeaderMap) {
        remove_hidden(headers);
        if let super::declaration::Authentication::Header { name, .. } = &self.declaration.authentication {
            headers.remove(name);
        }
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            self.shorten(headers, name);
        }
    }

    /// Shows a URL below the base URL as a target, and hides any other one of the same host.
    fn shorten(&self, headers: &mut HeaderMap, name: HeaderName) {
        let Some(text) = headers.get(&name).and_then(|value| value.to_str().ok()) else { return };
        let Ok(url) = self.declaration.base_url.join(text) else { return };
        if url.origin() != self.declaration.base_url.origin() {
            return;
        }
        let target = target::relative(&self.declaration.base_url, &url);
        match target.and_then(|target| HeaderValue::from_str(&target).ok()) {
            Some(value) => headers.insert(name, value),
            None => headers.remove(name),
        };
    }
}

/// Fields of authentication and of the connection itself: removed from every response.
pub(super) fn remove_hidden(headers: &mut HeaderMap) {
    const HIDDEN: [&str; 11] = [
        "set-cookie",
        "set-cookie2",
        "www-authenticate",
        "proxy-authenticate",
        "authentication-info",
        "proxy-authentication-info",
        "authorization",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "upgrade",
    ];
    for name in HIDDEN {
        headers.remove(name);
    }
}

/// Whether a guest may not set this field: it belongs to authentication, to the message's framing or to the connection.
pub fn forbidden(name: &HeaderName) -> bool {
    const FORBIDDEN: [&str; 15] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "cookie2",
        "host",
        "connection",
        "proxy-connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "content-length",
        "http2-settings",
    ];
    FORBIDDEN.contains(&name.as_str())
}

/// The text for a field that a guest may not set.
pub fn refusal(name: &HeaderName) -> String {
    format!("remove the field `{name}`: the host sets it, from the connection and the body")
}
