//! How something in the storage service is recognised as the work of one request: the API knows no idempotency key, so
//! what is made carries it at the end of its description, `[orchestrator:<key>]`.

use orchestrator_sdk::log;

/// The mark of a key.
pub(crate) fn mark(key: &str) -> String {
    format!("[orchestrator:{key}]")
}

/// A description for people with the mark behind it.
pub(crate) fn described(description: Option<&str>, key: &str) -> String {
    match description {
        None | Some("") => mark(key),
        Some(description) => format!("{description} {}", mark(key)),
    }
}

/// What a marked thing has to tell.
pub(crate) trait Marked {
    /// Its description.
    fn description(&self) -> Option<&str>;
    /// What orders things of one key: when they were made, then their identifier.
    fn age(&self) -> (Option<&str>, &str);
}

/// Those with the mark of a key, the oldest first.
pub(crate) fn of_key<T: Marked>(mut things: Vec<T>, key: &str) -> Vec<T> {
    let mark = mark(key);
    things.retain(|thing| thing.description().is_some_and(|text| text.ends_with(&mark)));
    things.sort_by(|a, b| a.age().cmp(&b.age()));
    things
}

/// The oldest of those that carry a key. More than one is told: a request was taken in after its repeat had looked.
pub(crate) fn oldest<T>(kind: &str, key: &str, mut things: Vec<T>) -> Option<T> {
    if things.len() > 1 {
        log::warn!("{} {kind} carry the request key `{key}`; the oldest is taken", things.len());
    }
    (!things.is_empty()).then(|| things.swap_remove(0))
}
