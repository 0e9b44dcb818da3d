//! Exchanges under way: each runs in a task of its own, so that it goes on while the guest computes, and ends with the
//! attempt at the latest. A transfer counts and hashes the bytes as they pass and never calls a cut body a success.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use ring::digest;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use super::super::wit::orchestrator::http::client::{Error, Header, Outcome, Response, Transferred};
use super::pace::Pace;
use super::request::{Prepared, Way, told};
use crate::connection::client::{Incoming, Payload};

/// A source that does not announce its length is held in memory up to this many bytes, to learn it.
const UNANNOUNCED_BYTES_MAX: u64 = 8 << 20;

/// A request or transfer under way (WIT `orchestrator:http/client.exchange`). Dropping it abandons it.
pub struct Exchange(Phase);

enum Phase {
    Running(JoinHandle<Result<Outcome, Error>>),
    Ended(Result<Outcome, Error>),
    Taken,
}

impl Exchange {
    pub(super) fn start(work: impl Future<Output = Result<Outcome, Error>> + Send + 'static) -> Self {
        Self(Phase::Running(tokio::spawn(work)))
    }

    pub(super) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Phase::Running(task) = &mut self.0 {
            let lost = || Err(Error::Interrupted("the exchange was given up by the host".to_owned()));
            let outcome = ready!(Pin::new(task).poll(context)).unwrap_or_else(|_| lost());
            self.0 = Phase::Ended(outcome);
        }
        Poll::Ready(())
    }

    /// The outcome, once, after the end.
    pub(super) fn take(&mut self) -> Option<Result<Outcome, Error>> {
        match std::mem::replace(&mut self.0, Phase::Taken) {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    pub(super) fn is_taken(&self) -> bool {
        matches!(self.0, Phase::Taken)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Phase::Running(task) = &self.0 {
            task.abort();
        }
    }
}

/// Sends a request and reads its whole response.
pub(super) async fn deliver(prepared: Prepared) -> Result<Outcome, Error> {
    let (bytes_max, pace) = (prepared.way.response_bytes_max(), prepared.pace.clone());
    let incoming = prepared.send().await?;
    let response = whole(incoming, bytes_max).await?;
    if let Some(pace) = pace {
        tokio::time::sleep_until(pace.charge(response.body.len() as u64, Instant::now()).into()).await;
    }
    Ok(Outcome { response, transferred: None })
}

/// Streams the source's response into the destination's request.
pub(super) async fn transfer(source: Prepared, destination: Prepared) -> Result<Outcome, Error> {
    let (bytes_max, pace, hashed) = (source.way.response_bytes_max(), source.pace.clone(), source.hashed);
    let incoming = source.send().await?;
    if !matches!(incoming.status.as_u16(), 200 | 206) {
        return Ok(Outcome { response: whole(incoming, bytes_max).await?, transferred: None });
    }
    let (status, headers, deadline) = (incoming.status.as_u16(), shown(&incoming.headers), incoming.deadline());
    let metered = Metered::of(incoming, pace, hashed).await?;
    let (length, meter) = (metered.length, metered.meter.clone());
    let bytes_max = destination.way.response_bytes_max();
    let sending = async {
        let incoming = destination.stream(metered).await?;
        whole(incoming, bytes_max).await
    };
    let response = match tokio::time::timeout_at(deadline.into(), sending).await {
        Ok(response) => response?,
        Err(_) => return Err(Error::Timeout("the transfer did not end within the source request's time".to_owned())),
    };
    let (bytes, sha256) = meter.lock().expect("no holder of this lock panics").read();
    if bytes != length && response.status < 300 {
        let text = format!("the other side answered after {bytes} of {length} bytes: what it stored is not the source");
        return Err(Error::Interrupted(text));
    }
    let transferred = Transferred { source_status: status, source_headers: headers, bytes, sha256 };
    Ok(Outcome { response, transferred: Some(transferred) })
}

impl Prepared {
    async fn send(self) -> Result<Incoming, Error> {
        let Self { way, outgoing, effect, .. } = self;
        if !matches!(outgoing.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            effect.store(true, Ordering::Relaxed);
        }
        let incoming = match way {
            Way::Connection(client) => client.send(outgoing).await,
            Way::Host(outside, url) => outside.send(url, outgoing).await,
        };
        incoming.map_err(told)
    }

    async fn stream(mut self, body: Metered) -> Result<Incoming, Error> {
        self.outgoing.payload = Payload::Stream(reqwest::Body::wrap(body));
        self.send().await
    }
}

async fn whole(incoming: Incoming, bytes_max: u64) -> Result<Response, Error> {
    let (status, headers) = (incoming.status.as_u16(), shown(&incoming.headers));
    let body = incoming.collect(bytes_max).await.map_err(told)?;
    Ok(Response { status, headers, body: body.into() })
}

fn shown(headers: &HeaderMap) -> Vec<Header> {
    headers
        .iter()
        .map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        })
        .collect()
}

/// A response's body on its way into another request. Only one chunk is in memory at a time.
struct Metered {
    body: reqwest::Body,
    length: u64,
    meter: Arc<Mutex<Meter>>,
    pace: Option<Arc<Pace>>,
    /// Until the bytes before are paid for.
    pause: Option<Pin<Box<Sleep>>>,
    /// The source's place among its connection's exchanges, as long as it is read.
    _place: Option<OwnedSemaphorePermit>,
}

struct Meter {
    bytes: u64,
    /// Absent where the guest wants no digest.
    hash: Option<digest::Context>,
}

impl Meter {
    fn read(&self) -> (u64, String) {
        let digest = self.hash.clone().map(|hash| hex::encode(hash.finish()));
        (self.bytes, digest.unwrap_or_default())
    }
}

impl Metered {
    async fn of(incoming: Incoming, pace: Option<Arc<Pace>>, hashed: bool) -> Result<Self, Error> {
        let hash = hashed.then(|| digest::Context::new(&digest::SHA256));
        let meter = Arc::new(Mutex::new(Meter { bytes: 0, hash }));
        match incoming.length {
            Some(length) => {
                let (body, place) = incoming.into_body();
                Ok(Self { body, length, meter, pace, pause: None, _place: place })
            }
            None => {
                let bytes = incoming.collect(UNANNOUNCED_BYTES_MAX).await.map_err(told)?;
                let length = bytes.len() as u64;
                Ok(Self { body: bytes.into(), length, meter, pace, pause: None, _place: None })
            }
        }
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let mut meter = self.meter.lock().expect("no holder of this lock panics");
            meter.bytes += data.len() as u64;
            if let Some(hash) = &mut meter.hash {
                hash.update(data);
            }
            drop(meter);
            let next = self.pace.as_ref().map(|pace| pace.charge(data.len() as u64, Instant::now()));
            self.pause = next.map(|next| Box::pin(tokio::time::sleep_until(next.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let moved = self.meter.lock().expect("no holder of this lock panics").bytes;
        SizeHint::with_exact(self.length.saturating_sub(moved))
    }
}
