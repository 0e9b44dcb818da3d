//! What is done so far, in a form that stays small however large the bucket is: a key up to which everything is done,
//! and the few keys beyond it that were done out of order. This is what a checkpoint stores.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Bytes of keys that may be done beyond the first open one; above it nothing new is begun until that one ends. Keeps
/// a checkpoint well below the 256 KiB that it may have, even when every byte of a key is written as `\u0000`.
const AHEAD_BYTES_MAX: usize = 24 * 1024;

/// Which keys are done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Every key up to this one is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Keys beyond it that are done as well.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub done: BTreeSet<String>,
    #[serde(skip)]
    open: BTreeSet<String>,
    #[serde(skip)]
    reached: Option<String>,
}

impl Ledger {
    /// Whether a key needs no more work.
    pub fn is_done(&self, key: &str) -> bool {
        self.after.as_deref().is_some_and(|after| key <= after) || self.done.contains(key)
    }

    /// Whether another key may be begun.
    pub fn has_room(&self) -> bool {
        self.open.is_empty() || self.done.iter().map(String::len).sum::<usize>() < AHEAD_BYTES_MAX
    }

    /// Notes that the walk has reached a key and work on it begins; keys are reached in order.
    pub fn begin(&mut self, key: &str) {
        self.reached = Some(key.to_owned());
        self.open.insert(key.to_owned());
    }

    /// Notes that the walk has reached a key that needs no work.
    pub fn pass(&mut self, key: &str) {
        self.reached = Some(key.to_owned());
        self.finish(key);
    }

    /// Notes that a key is done.
    pub fn finish(&mut self, key: &str) {
        self.open.remove(key);
        self.done.insert(key.to_owned());
        self.settle();
    }

    /// Moves the mark up to the first open key, but never beyond where this attempt's walk is: keys that an earlier
    /// attempt did out of order may have undone ones before them.
    fn settle(&mut self) {
        let passed = |key: &String| {
            self.open.first().is_none_or(|open| key < open)
                && self.reached.as_ref().is_some_and(|reached| key <= reached)
        };
        let number = self.done.iter().take_while(|key| passed(key)).count();
        for _ in 0..number {
            self.after = self.done.pop_first().max(self.after.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_waits_for_the_first_open_key() {
        let mut ledger = Ledger::default();
        ["a", "b", "c"].iter().for_each(|key| ledger.begin(key));
        ledger.finish("b");
        assert_eq!((ledger.after.as_deref(), ledger.is_done("b"), ledger.is_done("a")), (None, true, false));
        ledger.finish("a");
        assert_eq!((ledger.after.as_deref(), ledger.done.len()), (Some("b"), 0));
        ledger.finish("c");
        assert_eq!(ledger.after.as_deref(), Some("c"));
    }

    #[test]
    fn what_an_earlier_attempt_did_out_of_order_does_not_hide_what_it_did_not() {
        let mut ledger: Ledger = serde_json::from_str(r#"{"after":"a","done":["c","e"]}"#).expect("a ledger");
        ledger.begin("b");
        ledger.finish("b");
        assert_eq!(ledger.after.as_deref(), Some("b"));
        assert!(ledger.is_done("c") && !ledger.is_done("d"));
        ledger.pass("c");
        ledger.begin("d");
        assert_eq!(ledger.after.as_deref(), Some("c"));
        ledger.finish("d");
        ledger.pass("e");
        assert_eq!((ledger.after.as_deref(), ledger.done.len()), (Some("e"), 0));
    }

    #[test]
    fn nothing_is_begun_far_beyond_a_slow_key() {
        let mut ledger = Ledger::default();
        ledger.begin("a");
        let mut begun = 0;
        while ledger.has_room() {
            let key = format!("b{begun:01023}");
            ledger.begin(&key);
            ledger.finish(&key);
            begun += 1;
        }
        assert_eq!(begun, 24);
        assert!(serde_json::to_string(&ledger).expect("JSON").len() < 32 * 1024);
        ledger.finish("a");
        assert!(ledger.has_room() && ledger.done.is_empty());
    }
}
