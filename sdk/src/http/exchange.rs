//! Requests under way side by side, and bodies that stream from one connection to another inside the host.
//!
//! ```
//! use orchestrator_sdk::http;
//! # use orchestrator_sdk::testing::{Moved, Outside, Reply};
//! # fn main() -> Result<(), orchestrator_sdk::Error> {
//! # let outside = Outside::new();
//! # let moved = Moved { source_status: 200, source_headers: vec![], bytes: 3, sha256: "ab".into() };
//! # outside.expect_transfer("/from/a", "/to/a", moved, Reply::status(200));
//! let exchange = http::transfer(http::get("source", "/from/a"), http::put("target", "/to/a"))?;
//! let exchanges = [exchange];
//! assert_eq!(http::wait_any(&exchanges), Some(0));
//! let [exchange] = exchanges;
//! let outcome = exchange.finish()?;
//! outcome.response.error_for_status()?;
//! assert_eq!(outcome.transferred.unwrap().bytes, 3);
//! # Ok(())
//! # }
//! ```

use std::borrow::Borrow;

use super::response::Raw;
use super::{Origin, Request, Response, SendError};
use crate::outside;

/// A request or transfer under way. Dropping it abandons it.
#[derive(Debug)]
pub struct Exchange {
    inner: outside::Exchange,
    /// Of a transfer: its first request.
    source: Option<Origin>,
    origin: Origin,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The response; of a transfer, that of its second request. Where a transfer's first request was not answered by
    /// 200 or 206, that response, with `transferred` absent, and the second request was never sent.
    pub response: Response,
    /// Only for a transfer whose second request was sent.
    pub transferred: Option<Transferred>,
}

/// What a transfer moved from one response into another request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// The status of the response that was read: 200 or 206.
    pub source_status: u16,
    /// Its headers.
    pub source_headers: Vec<(String, String)>,
    /// Body bytes moved.
    pub bytes: u64,
    /// SHA-256 of those bytes, lower-case hexadecimal; empty after [`Request::without_digest`].
    pub sha256: String,
}

impl Transferred {
    /// The first header of this name of the response that was read, in any case.
    pub fn source_header(&self, name: &str) -> Option<&str> {
        self.source_headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What the host gives at the end of an exchange.
#[derive(Debug, Clone)]
pub(crate) struct RawOutcome {
    pub(crate) response: Raw,
    pub(crate) transferred: Option<Transferred>,
}

/// Starts a request; at most 16 exchanges may be under way in one attempt.
///
/// # Errors
/// When the host refuses it; failures of the exchange itself come from [`Exchange::finish`].
pub fn start(request: Request) -> Result<Exchange, SendError> {
    let parts = request.into_parts()?;
    let origin = Origin::of(&parts);
    match outside::start_send(parts) {
        Ok(inner) => Ok(Exchange { inner, source: None, origin }),
        Err(kind) => Err(SendError { kind, origin }),
    }
}

/// Starts streaming the body of `source`'s response into `destination`'s request inside the host, so that it never
/// passes through the action's memory. `destination` has no body; its `Content-Length` is the source's.
///
/// # Errors
/// As [`start`].
pub fn transfer(source: Request, destination: Request) -> Result<Exchange, SendError> {
    let source = source.into_parts()?;
    let destination = destination.into_parts()?;
    let (from, origin) = (Origin::of(&source), Origin::of(&destination));
    match outside::start_transfer(source, destination) {
        Ok(inner) => Ok(Exchange { inner, source: Some(from), origin }),
        Err(kind) => Err(SendError { kind, origin }),
    }
}

/// Waits until one of these has ended and gives its index; `None` when there are none.
pub fn wait_any<E: Borrow<Exchange>>(exchanges: &[E]) -> Option<usize> {
    if exchanges.is_empty() {
        return None;
    }
    let inner: Vec<_> = exchanges.iter().map(|exchange| &exchange.borrow().inner).collect();
    Some(outside::wait_any(&inner))
}

impl Exchange {
    /// Waits for the end and takes the outcome.
    ///
    /// # Errors
    /// When there is no response; see [`SendError`].
    pub fn finish(self) -> Result<Outcome, SendError> {
        match outside::finish(self.inner) {
            Ok(RawOutcome { response, transferred }) => {
                // Without a transfer the response is the source's: its method decides whether a repeat is harmless.
                let origin = match (&transferred, self.source) {
                    (None, Some(source)) => source,
                    _ => self.origin,
                };
                Ok(Outcome { response: Response::new(origin, response), transferred })
            }
            Err(kind) => Err(SendError { kind, origin: self.origin }),
        }
    }
}
