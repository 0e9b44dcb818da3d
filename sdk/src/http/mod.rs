//! HTTP to the connections that an admin granted. Addresses and credentials stay in the host: an action names a
//! connection and a path below its base URL, and the host adds the rest.
//!
//! ```
//! use orchestrator_sdk::{http, json};
//! # use orchestrator_sdk::testing::{Outside, Reply};
//! # fn main() -> Result<(), orchestrator_sdk::Error> {
//! # let outside = Outside::new();
//! # outside.expect("GET", "/volumes/a%2Fb?name=two%20words&limit=50", Reply::json(200, json!({"id": "v-1"})));
//! let volume: orchestrator_sdk::Json = http::get("backend", &format!("/volumes/{}", http::encode_path_segment("a/b")))
//!     .query("name", "two words")
//!     .query("limit", 50)
//!     .send()? // Any status is a response …
//!     .json()?; // … and `json` or `error_for_status` makes an unsuccessful one an error.
//! # assert_eq!(volume["id"], "v-1");
//! # Ok(())
//! # }
//! ```
//!
//! An absolute URL of a granted host goes with an empty connection name: `http::get("", "https://api.example/x")`.

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;

use crate::{Context, Error, outside};

mod encode;
pub(crate) mod exchange;
mod failure;
pub(crate) mod response;

pub use encode::{encode_key, encode_path_segment, encode_query};
pub use exchange::{Exchange, Outcome, Transferred, start, transfer, wait_any};
pub use failure::{SendError, SendErrorKind};
pub use response::Response;

/// A request to be built and sent.
#[derive(Debug, Clone)]
#[must_use = "a request does nothing until it is sent or started"]
pub struct Request {
    parts: Parts,
    /// A body that could not be written; told when the request is sent.
    invalid: Option<String>,
}

/// What the host gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) connection: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) timeout: Option<Duration>,
}

/// A request with the method GET.
pub fn get(connection: &str, target: &str) -> Request {
    request("GET", connection, target)
}

/// A request with the method POST.
pub fn post(connection: &str, target: &str) -> Request {
    request("POST", connection, target)
}

/// A request with the method PUT.
pub fn put(connection: &str, target: &str) -> Request {
    request("PUT", connection, target)
}

/// A request with the method DELETE.
pub fn delete(connection: &str, target: &str) -> Request {
    request("DELETE", connection, target)
}

/// A request with the method PATCH.
pub fn patch(connection: &str, target: &str) -> Request {
    request("PATCH", connection, target)
}

/// A request with the method HEAD.
pub fn head(connection: &str, target: &str) -> Request {
    request("HEAD", connection, target)
}

/// A request with any method. `target` starts with `/` and is already percent-encoded (see [`encode_path_segment`]).
pub fn request(method: &str, connection: &str, target: &str) -> Request {
    Request {
        parts: Parts {
            connection: connection.to_owned(),
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
            timeout: None,
        },
        invalid: None,
    }
}

impl Request {
    /// Adds a query parameter, percent-encoded.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        let separator = if self.parts.target.contains('?') { '&' } else { '?' };
        let parameter = format!("{separator}{}={}", encode_query(name), encode_query(&value.to_string()));
        self.parts.target.push_str(&parameter);
        self
    }

    /// Adds a header. Headers of authentication are refused by the host: they belong to the connection.
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.parts.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets a JSON body and its content type. Absent `Option`s of a struct are sent as `null` unless the struct says
    /// `#[serde(skip_serializing_if = "Option::is_none")]`.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.header("Content-Type", "application/json").body(bytes),
            Err(error) => {
                self.invalid = Some(format!("the request's body cannot be written as JSON: {error}"));
                self
            }
        }
    }

    /// Sets a body, at most 8 MiB; larger ones go through [`transfer`].
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.parts.body = Some(body.into());
        self
    }

    /// Limits the time of this request, connecting and body included; absent, the connection's limit holds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.parts.timeout = Some(timeout);
        self
    }

    /// Takes the answer at this pace at most, shared by all requests of the attempt that ask for one. The host holds to it
    /// and sends nothing of it.
    pub fn bytes_per_second(self, bytes: u64) -> Self {
        self.header("orchestrator-bytes-per-second", bytes)
    }

    /// As the first request of a transfer: its bytes are counted but not hashed, so that [`Transferred::sha256`] is empty.
    /// For large bodies whose integrity something else proves; the host sends nothing of it.
    pub fn without_digest(self) -> Self {
        self.header("orchestrator-transfer-digest", "none")
    }

    /// Sends the call's idempotency key in the header `Idempotency-Key`.
    pub fn idempotency_key(self, ctx: &Context) -> Self {
        self.idempotency_key_in(ctx, "Idempotency-Key")
    }

    /// Sends the call's idempotency key in a header of the outside's own name.
    pub fn idempotency_key_in(self, ctx: &Context, header: &str) -> Self {
        self.header(header, ctx.idempotency_key())
    }

    /// Sends the request and waits for its response. Any status is a response.
    ///
    /// # Errors
    /// When there is no response; see [`SendError`], which `?` turns into the [`Error`] that fits.
    pub fn send(self) -> Result<Response, SendError> {
        let parts = self.into_parts()?;
        let origin = Origin::of(&parts);
        match outside::send(parts) {
            Ok(raw) => Ok(Response::new(origin, raw)),
            Err(kind) => Err(SendError { kind, origin }),
        }
    }

    /// Sends the request and takes the JSON of a successful response.
    ///
    /// # Errors
    /// Those of [`Request::send`] and [`Response::json`].
    pub fn fetch<T: serde::de::DeserializeOwned>(self) -> Result<T, Error> {
        self.send()?.json()
    }

    fn into_parts(self) -> Result<Parts, SendError> {
        match self.invalid {
            None => Ok(self.parts),
            Some(text) => Err(SendError { kind: SendErrorKind::InvalidRequest(text), origin: Origin::of(&self.parts) }),
        }
    }
}

/// Where a response or failure comes from, for messages and for telling whether a repeat is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) connection: String,
    pub(crate) method: String,
    /// Without its query, which may be long.
    pub(crate) path: String,
}

impl Origin {
    pub(crate) fn of(parts: &Parts) -> Self {
        let path = parts.target.split('?').next().unwrap_or_default().to_owned();
        Self { connection: parts.connection.clone(), method: parts.method.clone(), path }
    }

    /// Whether sending the same request twice is as good as once (RFC 9110, section 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.connection.as_str() {
            "" => write!(f, "{} {}", self.method, self.path),
            connection => write!(f, "{} {} of connection `{connection}`", self.method, self.path),
        }
    }
}
