//! Sends the outbox to one URL: each event by itself as a structured CloudEvent, in order, until the other side answers
//! with success. A sink that is away is tried again ever more rarely and never given up; it may get an event twice after
//! a crash, and knows it by its `id`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use tokio::sync::watch;
use url::Url;

use super::super::Shared;
use super::outbox::{self, WAITING_MAX};
use crate::connection::push::Pusher;
use crate::journal::StoreError;
use crate::model::Json;

/// The media type of an event in structured mode.
const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// A sink has this long to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The pause after the first failure; it doubles with each further one.
const PAUSE_FIRST: SignedDuration = SignedDuration::from_secs(1);

/// The longest pause: a sink that comes back has everything about five minutes later.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// One sink.
pub(super) struct Sink {
    shared: Arc<Shared>,
    pusher: Pusher,
    place: usize,
    url: Url,
    newest: watch::Receiver<u64>,
    sent: u64,
}

/// The sinks of the settings.
pub(super) fn sinks(shared: &Arc<Shared>) -> Result<Vec<Sink>, StoreError> {
    let urls = &shared.mail.settings.sinks;
    if urls.is_empty() {
        return Ok(Vec::new());
    }
    let pusher = Pusher::new().map_err(StoreError)?;
    let sink = |(place, url): (usize, &Url)| Sink {
        shared: shared.clone(),
        pusher: pusher.clone(),
        place,
        url: url.clone(),
        newest: shared.mail.outbox.watch(),
        sent: shared.mail.outbox.sent(place),
    };
    Ok(urls.iter().enumerate().map(sink).collect())
}

impl Sink {
    /// Sends until the server stops.
    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            error = self.serve() => tracing::error!(%error, "a sink is not served any more; start the server again"),
        }
    }

    async fn serve(&mut self) -> StoreError {
        loop {
            if let Err(error) = self.send_waiting().await {
                return error;
            }
            // The sender lives as long as `shared`.
            let _ = self.newest.changed().await;
        }
    }

    /// Sends everything that waits, and remembers after each page how far it is.
    async fn send_waiting(&mut self) -> Result<(), StoreError> {
        loop {
            let newest = *self.newest.borrow_and_update();
            self.drop_oldest(newest);
            let page = outbox::read(&*self.shared.journal, self.sent, newest)?;
            if page.is_empty() {
                self.sent = self.sent.max(newest);
                return Ok(());
            }
            for (number, event) in page {
                match event {
                    _ if number <= self.sent => {}
                    Some(event) => self.deliver(number, &event).await,
                    None => {
                        tracing::error!(number, "an event of the outbox cannot be read and is passed over");
                        self.sent = number;
                    }
                }
            }
            let mail = &self.shared.mail;
            mail.outbox.advance(&*self.shared.journal, (self.place, &self.url), self.sent).await?;
        }
    }

    /// Tries until the sink has the event, or too many wait behind it.
    async fn deliver(&mut self, number: u64, event: &Json) {
        let body = Bytes::from(event.to_string());
        let mut pause = PAUSE_FIRST;
        loop {
            let failure = match self.pusher.post(&self.url, MEDIA_TYPE, body.clone(), ANSWER_MAX).await {
                Ok(status) if status.is_success() => break,
                Ok(status) => format!("it answered {status}"),
                Err(error) => error.to_string(),
            };
            tracing::warn!(sink = self.place + 1, %pause, failure, "a sink took no event; it is tried again");
            let due = self.shared.clock.now().saturating_add(pause).expect("a signed duration always saturates");
            self.shared.clock.sleep_until(due).await;
            pause = (pause * 2).min(PAUSE_MAX);
            let newest = *self.newest.borrow();
            self.drop_oldest(newest);
            if self.sent >= number {
                return;
            }
        }
        self.sent = number;
    }

    fn drop_oldest(&mut self, newest: u64) {
        let kept_after = newest.saturating_sub(WAITING_MAX);
        if self.sent < kept_after {
            let lost = kept_after - self.sent;
            tracing::error!(sink = self.place + 1, lost, "a sink was away for too long and misses its oldest events");
            self.sent = kept_after;
        }
    }
}
