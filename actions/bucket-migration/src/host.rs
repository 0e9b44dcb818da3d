//! The door to the real host: [`Wire`] on the SDK.

use orchestrator_sdk::http::{self, SendError, SendErrorKind};
use orchestrator_sdk::progress::{self, Measure};
use orchestrator_sdk::{Context, Error};
use serde::Serialize;

use crate::wire::{Broken, Outcome, Request, Response, Wire};

/// The host, as the call that is served sees it.
pub struct Host<'c>(pub &'c Context);

impl Wire for Host<'_> {
    type Exchange = http::Exchange;

    fn start(&self, request: Request) -> Result<Self::Exchange, Broken> {
        http::start(built(request)).map_err(broken)
    }

    fn start_transfer(&self, from: Request, to: Request) -> Result<Self::Exchange, Broken> {
        // What arrived is proved by comparing the two stores' own checksums.
        http::transfer(built(from).without_digest(), built(to)).map_err(broken)
    }

    fn wait_any(&self, exchanges: &[&Self::Exchange]) -> usize {
        http::wait_any(exchanges).unwrap_or(0)
    }

    fn finish(&self, exchange: Self::Exchange) -> Result<Outcome, Broken> {
        let ended = exchange.finish().map_err(broken)?;
        let headers = ended.response.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let status = ended.response.status();
        let response = Response { status, headers, body: ended.response.into_bytes() };
        Ok(Outcome { response, moved: ended.transferred.map(|transferred| transferred.bytes) })
    }

    fn report(&self, measures: &[Measure]) {
        progress::report(measures, None);
    }

    fn checkpoint<T: Serialize>(&self, state: &T) -> Result<(), Error> {
        self.0.save_checkpoint(state)
    }

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

fn built(request: Request) -> http::Request {
    let mut built = http::request(request.method, request.side.connection(), &request.target);
    for (name, value) in request.headers {
        built = built.header(&name, value);
    }
    match request.body {
        Some(body) => built.body(body),
        None => built,
    }
}

/// All requests of this crate may be repeated: what was written twice is the same, and an upload that was begun twice
/// is found by its entity tag or aborted.
fn broken(error: SendError) -> Broken {
    let text = error.to_string();
    match error.kind() {
        SendErrorKind::Denied(_) | SendErrorKind::InvalidRequest(_) | SendErrorKind::TooLarge(_) => {
            Broken::Refused(text)
        }
        SendErrorKind::Unavailable(_) | SendErrorKind::Timeout(_) | SendErrorKind::Interrupted(_) => Broken::Lost(text),
        SendErrorKind::Exhausted(_) => Broken::Exhausted(text),
    }
}
