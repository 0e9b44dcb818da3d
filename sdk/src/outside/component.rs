//! The doors to the host in a component: its imports.

#[path = "component/telling.rs"]
mod telling;

use crate::bindings::orchestrator::http::client;
use crate::bindings::orchestrator::log::log as host_log;
use crate::bindings::orchestrator::progress::progress;
use crate::bindings::orchestrator::secrets::store;
use crate::http::exchange::RawOutcome;
use crate::http::response::Raw;
use crate::http::{Parts, SendErrorKind, Transferred};
use crate::log::Level;
use crate::progress::{CheckpointError, Measure};
use crate::secrets::RevealError;
pub(crate) use telling::{delivered, deliveries, post, send_mail};

/// An exchange that the host has under way.
pub(crate) type Exchange = client::Exchange;

pub(crate) fn send(parts: Parts) -> Result<Raw, SendErrorKind> {
    client::send(&request(parts)).map(raw).map_err(failure)
}

pub(crate) fn start_send(parts: Parts) -> Result<Exchange, SendErrorKind> {
    client::start_send(&request(parts)).map_err(failure)
}

pub(crate) fn start_transfer(source: Parts, destination: Parts) -> Result<Exchange, SendErrorKind> {
    client::start_transfer(&request(source), &request(destination)).map_err(failure)
}

pub(crate) fn wait_any(exchanges: &[&Exchange]) -> usize {
    client::wait_any(exchanges) as usize
}

pub(crate) fn finish(exchange: Exchange) -> Result<RawOutcome, SendErrorKind> {
    let client::Outcome { response, transferred } = exchange.finish().map_err(failure)?;
    let transferred = transferred.map(|t| Transferred {
        source_status: t.source_status,
        source_headers: t.source_headers.into_iter().map(|h| (h.name, h.value)).collect(),
        bytes: t.bytes,
        sha256: t.sha256,
    });
    Ok(RawOutcome { response: raw(response), transferred })
}

pub(crate) fn log(level: Level, message: String) {
    let level = match level {
        Level::Trace => host_log::Level::Trace,
        Level::Debug => host_log::Level::Debug,
        Level::Info => host_log::Level::Info,
        Level::Warn => host_log::Level::Warn,
        Level::Error => host_log::Level::Error,
    };
    host_log::write(level, &message);
}

pub(crate) fn report(measures: Vec<Measure>, note: Option<String>) {
    let measures: Vec<_> =
        measures.into_iter().map(|Measure { unit, done, total }| progress::Measure { unit, done, total }).collect();
    progress::report(&measures, note.as_deref());
}

pub(crate) fn checkpoint(state: String) -> Result<(), CheckpointError> {
    progress::checkpoint(&state).map_err(|error| match error {
        progress::Error::Invalid(text) => CheckpointError::Invalid(text),
        progress::Error::Unavailable(text) => CheckpointError::Unavailable(text),
    })
}

pub(crate) fn cancelled() -> bool {
    progress::cancelled()
}

pub(crate) fn reveal(name: &str) -> Result<Vec<u8>, RevealError> {
    store::reveal(name).map_err(|error| match error {
        store::Error::Denied(text) => RevealError::Denied(text),
        store::Error::Missing(text) => RevealError::Missing(text),
    })
}

fn request(parts: Parts) -> client::Request {
    client::Request {
        connection: parts.connection,
        method: parts.method,
        target: parts.target,
        headers: parts.headers.into_iter().map(|(name, value)| client::Header { name, value }).collect(),
        body: parts.body,
        // The host takes at most what a u32 holds (49 days), far beyond any attempt.
        timeout_ms: parts.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)),
    }
}

fn raw(response: client::Response) -> Raw {
    Raw {
        status: response.status,
        headers: response.headers.into_iter().map(|h| (h.name, h.value)).collect(),
        body: response.body,
    }
}

fn failure(error: client::Error) -> SendErrorKind {
    match error {
        client::Error::Denied(text) => SendErrorKind::Denied(text),
        client::Error::InvalidRequest(text) => SendErrorKind::InvalidRequest(text),
        client::Error::Unavailable(text) => SendErrorKind::Unavailable(text),
        client::Error::Timeout(text) => SendErrorKind::Timeout(text),
        client::Error::Interrupted(text) => SendErrorKind::Interrupted(text),
        client::Error::TooLarge(limit) => SendErrorKind::TooLarge(limit),
        client::Error::Exhausted(text) => SendErrorKind::Exhausted(text),
    }
}
