//! The doors to the host in a native build: whatever `testing::Outside` stands ready.

use crate::http::exchange::RawOutcome;
use crate::http::response::Raw;
use crate::http::{Parts, SendErrorKind};
use crate::log::Level;
use crate::mail::{MailErrorKind, Message, Outcome};
use crate::notification::{Delivery, Notification, PostErrorKind, Posted};
use crate::progress::{CheckpointError, Measure};
use crate::secrets::RevealError;
use crate::testing;

/// An exchange whose end is already known.
pub(crate) type Exchange = testing::Ended;

pub(crate) fn send(parts: Parts) -> Result<Raw, SendErrorKind> {
    testing::exchange(parts, None).map(|outcome| outcome.response)
}

pub(crate) fn start_send(parts: Parts) -> Result<Exchange, SendErrorKind> {
    Ok(testing::Ended(testing::exchange(parts, None)))
}

pub(crate) fn start_transfer(source: Parts, destination: Parts) -> Result<Exchange, SendErrorKind> {
    Ok(testing::Ended(testing::exchange(source, Some(destination))))
}

pub(crate) fn wait_any(_: &[&Exchange]) -> usize {
    0
}

pub(crate) fn finish(exchange: Exchange) -> Result<RawOutcome, SendErrorKind> {
    exchange.0
}

pub(crate) fn log(level: Level, message: String) {
    testing::log(level, message);
}

pub(crate) fn report(measures: Vec<Measure>, note: Option<String>) {
    testing::report(measures, note);
}

pub(crate) fn checkpoint(state: String) -> Result<(), CheckpointError> {
    testing::checkpoint(state)
}

pub(crate) fn cancelled() -> bool {
    testing::cancelled()
}

pub(crate) fn reveal(name: &str) -> Result<Vec<u8>, RevealError> {
    testing::reveal(name)
}

pub(crate) fn send_mail(message: Message) -> Result<Outcome, MailErrorKind> {
    testing::send_mail(message)
}

pub(crate) fn post(notification: Notification) -> Result<Posted, PostErrorKind> {
    testing::post(notification)
}

pub(crate) fn deliveries(key: &str) -> Result<Vec<Delivery>, PostErrorKind> {
    testing::deliveries(key)
}

pub(crate) fn delivered(key: &str, delivery: Delivery) -> Result<(), PostErrorKind> {
    testing::delivered(key, delivery)
}
