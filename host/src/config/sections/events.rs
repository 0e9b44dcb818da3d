//! How events are kept and where they go.

use jiff::SignedDuration;
use url::Url;

use crate::config::setting::settings;
use crate::config::value::{Value, shortened};
use crate::coordinator::EventSettings;

settings! {
    /// How events are kept and where they go.
    pub struct Events titled "Events" {
        /// How long an event may come before its listener, at most a day.
        window as "eventWindow": Window = "10m",
        /// How long an event that comes again is known and dropped, at most 30 days.
        dedup as "eventDedup": Dedup = "24h",
        /// Where emitted and lifecycle events are posted as CloudEvents; may be repeated.
        sinks as "eventSinks": Vec<Sink>,
    }
}

impl Events {
    /// The same as the coordinator takes it.
    pub fn settings(&self) -> EventSettings {
        let sinks = self.sinks.iter().map(|sink| sink.0.clone()).collect();
        EventSettings { window: self.window.0, dedup: self.dedup.0, sinks }
    }
}

/// The inbox is looked through by each listener; it is no archive.
const WINDOW_HOURS_MAX: i64 = 24;

/// Who repeats an event does so within hours; each known event is a row.
const DEDUP_HOURS_MAX: i64 = 30 * 24;

/// How long an event waits for its listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(pub SignedDuration);

/// How long an event is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedup(pub SignedDuration);

/// Who is sent events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink(pub Url);

fn within(texts: &[&str], hours_max: i64) -> Result<SignedDuration, String> {
    let duration = SignedDuration::read(texts)?;
    let fits = !duration.is_negative() && duration <= SignedDuration::from_hours(hours_max);
    if fits { Ok(duration) } else { Err(format!("`{duration:#}` is not between nothing and {hours_max} hours")) }
}

impl Value for Window {
    const WORD: &'static str = "DURATION";

    fn read(texts: &[&str]) -> Result<Self, String> {
        within(texts, WINDOW_HOURS_MAX).map(Self)
    }
}

impl Value for Dedup {
    const WORD: &'static str = "DURATION";

    fn read(texts: &[&str]) -> Result<Self, String> {
        within(texts, DEDUP_HOURS_MAX).map(Self)
    }
}

impl Value for Sink {
    const WORD: &'static str = "URL";
    const SEPARATORS: &'static [char] = Url::SEPARATORS;

    fn read(texts: &[&str]) -> Result<Self, String> {
        let url = Url::read(texts)?;
        let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none();
        let wrong =
            || format!("`{}` takes no events: give an http or https URL without a fragment", shortened(url.as_str()));
        if fits { Ok(Self(url)) } else { Err(wrong()) }
    }
}
