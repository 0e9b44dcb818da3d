//! HTTP for guests: a connection's name and a target go in, a response comes out. The grant is checked here, then
//! `connection` adds address and authentication. A transfer streams one response into another request without passing
//! through guest memory.

mod exchange;
mod hashing;
mod pace;
mod request;

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use wasmtime::component::Resource;

use super::Guest;
use super::wit::orchestrator::http::client::{self, Error, Outcome, Request, Response};
use crate::connection::outside::Outside;
pub use exchange::Exchange;
use exchange::{deliver, transfer};
use pace::Pace;

/// Exchanges under way in one attempt (WIT `orchestrator:http`). Each may hold a response of 8 MiB.
const EXCHANGES_MAX: usize = 16;

/// Requests of one attempt: enough to copy a hundred thousand small objects before the next checkpointed attempt.
const REQUESTS_MAX: u32 = 200_000;

/// What the HTTP capability keeps of one attempt.
pub(crate) struct Http {
    outside: Arc<Outside>,
    idempotency_key: String,
    requests: u32,
    under_way: usize,
    effect: Arc<AtomicBool>,
    /// Only where the guest asked for one.
    pace: OnceLock<Arc<Pace>>,
}

impl Http {
    pub(crate) fn new(outside: Arc<Outside>, idempotency_key: String) -> Self {
        Self { outside, idempotency_key, requests: 0, under_way: 0, effect: Arc::default(), pace: OnceLock::new() }
    }

    /// The same for every attempt at one task.
    pub(crate) fn idempotency_key(&self) -> &str {
        &self.idempotency_key
    }

    /// Whether a request that may have had an effect was sent.
    pub(crate) fn may_have_had_effect(&self) -> bool {
        self.effect.load(Ordering::Relaxed)
    }

    fn count(&mut self, requests: u32) -> Result<(), Error> {
        if self.requests + requests > REQUESTS_MAX {
            return Err(Error::Exhausted(format!(
                "the attempt has sent its {REQUESTS_MAX} requests; checkpoint earlier"
            )));
        }
        self.requests += requests;
        Ok(())
    }

    /// The pace that a guest asks for, shared by the exchanges of its attempt.
    fn paced(&self, asked: Option<u64>) -> Option<Arc<Pace>> {
        let bytes_per_second = asked?;
        let pace = self.pace.get_or_init(|| Arc::new(Pace::new()));
        pace.set(bytes_per_second);
        Some(Arc::clone(pace))
    }

    fn has_place(&self) -> Result<(), Error> {
        match self.under_way < EXCHANGES_MAX {
            true => Ok(()),
            false => {
                Err(Error::Exhausted(format!("{EXCHANGES_MAX} exchanges are under way; finish or drop one first")))
            }
        }
    }
}

impl client::Host for Guest {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, Error>> {
        if let Err(error) = self.http.count(1) {
            return Ok(Err(error));
        }
        match self.prepare(request) {
            Ok(prepared) => Ok(deliver(prepared).await.map(|outcome| outcome.response)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn start_send(&mut self, request: Request) -> wasmtime::Result<Result<Resource<Exchange>, Error>> {
        let prepared = self.http.has_place().and_then(|()| self.http.count(1)).and_then(|()| self.prepare(request));
        match prepared {
            Ok(prepared) => self.keep(Exchange::start(deliver(prepared))),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn start_transfer(
        &mut self,
        source: Request,
        destination: Request,
    ) -> wasmtime::Result<Result<Resource<Exchange>, Error>> {
        let prepared = self
            .http
            .has_place()
            .and_then(|()| self.http.count(2))
            .and_then(|()| Ok((self.prepare(source)?, self.prepare_destination(destination)?)));
        match prepared {
            Ok((source, destination)) => self.keep(Exchange::start(transfer(source, destination))),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn wait_any(&mut self, exchanges: Vec<Resource<Exchange>>) -> wasmtime::Result<u32> {
        let table = &mut self.table;
        poll_fn(|context| {
            for (index, exchange) in (0..).zip(&exchanges) {
                if table.get_mut(exchange)?.poll_ended(context).is_ready() {
                    return Poll::Ready(Ok(index));
                }
            }
            if exchanges.is_empty() { Poll::Ready(Ok(0)) } else { Poll::Pending }
        })
        .await
    }
}

impl client::HostExchange for Guest {
    async fn finish(&mut self, exchange: Resource<Exchange>) -> wasmtime::Result<Result<Outcome, Error>> {
        let exchange = self.table.get_mut(&exchange)?;
        poll_fn(|context| exchange.poll_ended(context)).await;
        match exchange.take() {
            Some(outcome) => {
                self.http.under_way -= 1;
                Ok(outcome)
            }
            None => Ok(Err(Error::InvalidRequest("finish an exchange once: its outcome was already taken".to_owned()))),
        }
    }

    async fn drop(&mut self, exchange: Resource<Exchange>) -> wasmtime::Result<()> {
        if !self.table.delete(exchange)?.is_taken() {
            self.http.under_way -= 1;
        }
        Ok(())
    }
}

impl Guest {
    fn keep(&mut self, exchange: Exchange) -> wasmtime::Result<Result<Resource<Exchange>, Error>> {
        let resource = self.table.push(exchange)?;
        self.http.under_way += 1;
        Ok(Ok(resource))
    }
}
