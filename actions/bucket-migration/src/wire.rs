//! The one door to the outside: what the actions need of the host, as a trait, so that the whole of this crate also
//! runs natively against a double in memory that answers in any order and dies when told to.

use orchestrator_sdk::Error;
use orchestrator_sdk::progress::Measure;
use serde::Serialize;

/// Which of the two granted connections a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The connection `source`.
    Source,
    /// The connection `destination`.
    Destination,
}

impl Side {
    /// The connection's name in `pack.yaml`.
    pub fn connection(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// One request of the S3 protocol, path-style.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where it goes.
    pub side: Side,
    /// `GET`, `PUT`, …
    pub method: &'static str,
    /// The encoded path and query.
    pub target: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The body; empty is sent as no body unless the method is `PUT`.
    pub body: Option<Vec<u8>>,
}

/// One response.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first field of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The entity tag without its quotes; empty when there is none.
    pub fn etag(&self) -> String {
        self.header("etag").map(|etag| etag.trim_matches('"').to_owned()).unwrap_or_default()
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The response; of a transfer that of the second request, or that of the first when it was refused.
    pub response: Response,
    /// Bytes that a transfer moved; absent when its first request was refused.
    pub moved: Option<u64>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// Denied, malformed, or too large: the same again would end the same way.
    Refused(String),
    /// Refused connection, time out, broken off: every request of this crate may be sent again.
    Lost(String),
    /// This attempt has used up what one attempt may use.
    Exhausted(String),
}

/// What the host does for an action.
pub trait Wire {
    /// A request or transfer under way; dropping it abandons it.
    type Exchange;

    /// Starts a request.
    fn start(&self, request: Request) -> Result<Self::Exchange, Broken>;

    /// Starts streaming the response to `from` into the request `to`, inside the host.
    fn start_transfer(&self, from: Request, to: Request) -> Result<Self::Exchange, Broken>;

    /// Waits until one of these has ended and gives its index.
    fn wait_any(&self, exchanges: &[&Self::Exchange]) -> usize;

    /// Waits for the end of one.
    fn finish(&self, exchange: Self::Exchange) -> Result<Outcome, Broken>;

    /// Shows progress to people.
    fn report(&self, measures: &[Measure]);

    /// Stores what the next attempt receives; durable on return.
    fn checkpoint<T: Serialize>(&self, state: &T) -> Result<(), Error>;

    /// Whether the instance is being cancelled.
    fn cancelled(&self) -> bool;
}

/// Several exchanges under way, each with a note of what it is for.
pub struct Flight<'w, W: Wire, T> {
    wire: &'w W,
    most: usize,
    notes: Vec<T>,
    exchanges: Vec<W::Exchange>,
}

impl<'w, W: Wire, T> Flight<'w, W, T> {
    /// Room for so many.
    pub fn new(wire: &'w W, most: usize) -> Self {
        Self { wire, most, notes: Vec::new(), exchanges: Vec::new() }
    }

    /// Whether another may be started.
    pub fn has_room(&self) -> bool {
        self.exchanges.len() < self.most
    }

    /// Starts a request.
    pub fn send(&mut self, note: T, request: Request) -> Result<(), (T, Broken)> {
        match self.wire.start(request) {
            Ok(exchange) => self.add(note, exchange),
            Err(broken) => return Err((note, broken)),
        }
        Ok(())
    }

    /// Starts a transfer.
    pub fn transfer(&mut self, note: T, from: Request, to: Request) -> Result<(), (T, Broken)> {
        match self.wire.start_transfer(from, to) {
            Ok(exchange) => self.add(note, exchange),
            Err(broken) => return Err((note, broken)),
        }
        Ok(())
    }

    fn add(&mut self, note: T, exchange: W::Exchange) {
        self.notes.push(note);
        self.exchanges.push(exchange);
    }

    /// Waits for any to end; nothing when none is under way.
    pub fn next(&mut self) -> Option<(T, Result<Outcome, Broken>)> {
        if self.exchanges.is_empty() {
            return None;
        }
        let waiting: Vec<&W::Exchange> = self.exchanges.iter().collect();
        let index = self.wire.wait_any(&waiting).min(waiting.len() - 1);
        let note = self.notes.swap_remove(index);
        Some((note, self.wire.finish(self.exchanges.swap_remove(index))))
    }
}
