//! The stored form of records. A sample that was once written must be readable for ever: samples are added, never
//! changed.

use serde_json::json;

use super::*;

const SAMPLES: &str = include_str!("../fixtures/records-v1.json");

/// The name of the variant as it is stored. The match has no wildcard, so that a new variant asks for its sample.
fn name(record: &Record) -> &'static str {
    match record {
        Record::Created(_) => "created",
        Record::Started { .. } => "started",
        Record::Entered(_) => "entered",
        Record::Skipped { .. } => "skipped",
        Record::Armed { .. } => "armed",
        Record::Matched { .. } => "matched",
        Record::Emitted { .. } => "emitted",
        Record::Handled { .. } => "handled",
        Record::Intent { .. } => "intent",
        Record::ProbeIntent { .. } => "probe-intent",
        Record::Result { .. } => "result",
        Record::Checkpoint { .. } => "checkpoint",
        Record::SecretRevealed { .. } => "secret-revealed",
        Record::TimerSet { .. } => "timer-set",
        Record::TimerFired { .. } => "timer-fired",
        Record::Iterated { .. } => "iterated",
        Record::Collected { .. } => "collected",
        Record::Left { .. } => "left",
        Record::Failed { .. } => "failed",
        Record::Retried { .. } => "retried",
        Record::Caught { .. } => "caught",
        Record::Suspended { .. } => "suspended",
        Record::Resumed { .. } => "resumed",
        Record::Reopened { .. } => "reopened",
        Record::CancelAsked { .. } => "cancel-asked",
        Record::Ended { .. } => "ended",
    }
}

/// All names that [`name`] gives.
const NAMES: [&str; 26] = [
    "armed",
    "matched",
    "handled",
    "emitted",
    "created",
    "started",
    "entered",
    "skipped",
    "intent",
    "probe-intent",
    "result",
    "checkpoint",
    "secret-revealed",
    "timer-set",
    "timer-fired",
    "iterated",
    "collected",
    "left",
    "failed",
    "retried",
    "caught",
    "suspended",
    "resumed",
    "reopened",
    "cancel-asked",
    "ended",
];

fn samples() -> Vec<Json> {
    serde_json::from_str(SAMPLES).unwrap()
}

#[test]
fn every_sample_is_read_and_written_as_it_stands() {
    for sample in samples() {
        let stamped: Stamped = serde_json::from_value(sample.clone()).unwrap_or_else(|why| panic!("{sample}: {why}"));
        assert_eq!(sample["record"], name(&stamped.record));
        assert_eq!(serde_json::to_value(&stamped).unwrap(), sample);
    }
}

#[test]
fn every_variant_has_a_sample() {
    for name in NAMES {
        assert!(samples().iter().any(|sample| sample["record"] == name), "add a sample of `{name}`");
    }
    // Variants inside variants.
    for (member, word) in [("outcome", "ok"), ("outcome", "failed"), ("status", "faulted"), ("status", "completed")] {
        let there = |sample: &Json| sample[member] == word || sample[member].get(word).is_some();
        assert!(samples().iter().any(there), "add a sample with `{member}` = `{word}`");
    }
}

#[test]
fn members_of_a_newer_version_are_passed_over() {
    for mut sample in samples() {
        let known: Stamped = serde_json::from_value(sample.clone()).unwrap();
        sample["addedLater"] = json!({ "x": 1 });
        assert_eq!(serde_json::from_value::<Stamped>(sample).unwrap(), known);
    }
}
