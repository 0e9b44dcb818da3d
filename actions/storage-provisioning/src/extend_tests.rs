//! Each case: what the API answers, and what the action makes of it.

use orchestrator_sdk::testing::{Outside, Reply};
use orchestrator_sdk::{Reaction, json};

use super::*;

const ONE: &str = "/block/volumes/v-1";
const RESIZE: &str = "/block/volumes/v-1/resize";

fn input() -> ExtendVolume {
    serde_json::from_value(json!({"volumeId": "v-1", "size": 5})).unwrap()
}

fn volume(status: &str, size: u64) -> Reply {
    Reply::json(200, json!({"id": "v-1", "status": status, "size": size, "AttachStatus": ""}))
}

fn fault(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"code": status, "message": message}))
}

#[test]
fn an_available_volume_is_asked_to_grow() {
    let outside = Outside::new();
    outside.expect("GET", ONE, volume("available", 2));
    outside.expect("POST", RESIZE, volume("extending", 2));
    let growing = extend_volume(&outside.context(), input()).unwrap();
    assert_eq!((growing.status.as_str(), growing.size), ("extending", Some(2)));
    assert_eq!(outside.requests()[1].json(), json!({"newSize": 5}));
}

#[test]
fn a_repeat_after_a_lost_answer_asks_for_nothing() {
    for (status, size) in [("extending", 2), ("available", 5), ("inUse", 5)] {
        let outside = Outside::new();
        outside.expect("GET", ONE, volume(status, size));
        assert_eq!(extend_volume(&outside.context(), input()).unwrap().status, status);
    }
}

#[test]
fn a_request_that_was_taken_between_looking_and_asking_is_found() {
    let outside = Outside::new();
    outside.expect("GET", ONE, volume("available", 2));
    outside.expect("POST", RESIZE, fault(400, "the status of the volume to be extended must be available!"));
    outside.expect("GET", ONE, volume("extending", 2));
    assert_eq!(extend_volume(&outside.context(), input()).unwrap().status, "extending");
}

#[test]
fn shrinking_is_refused_before_anything_is_asked_for() {
    let outside = Outside::new();
    outside.expect("GET", ONE, volume("available", 9));
    let error = extend_volume(&outside.context(), input()).unwrap_err();
    assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 400));
    assert_eq!(error.problem.kind, CANNOT_SHRINK);
    assert!(error.problem.detail.contains("has 9 GB and cannot shrink to 5 GB"), "{error}");
}

#[test]
fn a_refusal_says_what_to_do() {
    let outside = Outside::new();
    outside.expect("GET", ONE, volume("inUse", 2));
    outside.expect("POST", RESIZE, fault(400, "the status of the volume to be extended must be available!"));
    outside.expect("GET", ONE, volume("inUse", 2));
    let error = extend_volume(&outside.context(), input()).unwrap_err();
    assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 400));
    assert!(error.problem.detail.ends_with("must be available!; the volume has to be available: detach it first"));
}

#[test]
fn failures_of_extending_are_sorted_by_what_the_engine_does_next() {
    let again = Reaction::Transient { retry_after: None };
    for (reply, reaction, status) in [
        (fault(401, "no token"), Reaction::Permanent, 401),
        (fault(403, "not yours"), Reaction::Permanent, 403),
        (fault(404, "volume v-1 not found"), Reaction::Permanent, 404),
        (fault(409, "conflict"), Reaction::Permanent, 409),
        (fault(429, "slow down"), again, 429),
        (fault(500, "boom"), Reaction::Unknown, 500),
        (fault(503, "starting"), again, 503),
        (Reply::bytes(202, "<html>"), Reaction::Unknown, 502),
        (Reply::timeout(), Reaction::Unknown, 504),
        (Reply::interrupted(), Reaction::Unknown, 502),
        (Reply::unavailable(), again, 503),
    ] {
        let outside = Outside::new();
        outside.expect("GET", ONE, volume("available", 2));
        outside.expect("POST", RESIZE, reply);
        let error = extend_volume(&outside.context(), input()).unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (reaction, status), "{error}");
    }
}

#[test]
fn a_volume_that_is_not_there_is_told() {
    let outside = Outside::new();
    outside.expect("GET", ONE, fault(404, "volume v-1 not found"));
    let error = extend_volume(&outside.context(), input()).unwrap_err();
    assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 404));
}
