//! Each case: what the API answers, and what the action makes of it.

use orchestrator_sdk::testing::{Call, Outside, Reply};
use orchestrator_sdk::{Change, Json, Reaction, json};

use super::*;

const LIST: &str = "/block/snapshots?volumeId=v-1&name=nightly&limit=50&offset=0";
const ONE: &str = "/block/snapshots/s-1";
const VOLUME: &str = "/block/volumes/v-1";

fn input(more: Json) -> CreateSnapshot {
    let mut input = json!({"volumeId": "v-1", "name": "nightly"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(input).unwrap()
}

fn snapshot(status: &str) -> Json {
    json!({
        "id": "s-1", "createdAt": "2021-04-16T15:39:59", "updatedAt": "", "name": "nightly", "volumeId": "v-1",
        "description": "[orchestrator:key-1]", "profileId": "p-1", "status": status
    })
}

fn id(allow_missing: bool) -> SnapshotId {
    SnapshotId { snapshot_id: "s-1".to_owned(), allow_missing }
}

fn fault(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"code": status, "message": message}))
}

#[test]
fn a_snapshot_is_asked_for_with_its_key_and_a_profile_that_was_left_out_is_not_sent_as_null() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([])));
    outside.expect("POST", SNAPSHOTS, Reply::json(202, snapshot("creating")));
    let ctx = outside.context();

    let made = create_snapshot(&ctx, input(json!({"description": null, "profileId": null}))).unwrap();

    assert_eq!((made.id.as_str(), made.status.as_str()), ("s-1", "creating"));
    let sent = json!({"volumeId": "v-1", "name": "nightly", "description": "[orchestrator:key-1]"});
    assert_eq!(outside.requests()[1].json(), sent);
    assert_eq!(ctx.left_receipt(), Some(json!({"snapshotId": "s-1"})));
    assert_eq!(ctx.left_resources()[0].change, Change::Created);
}

#[test]
fn everything_given_reaches_the_api_under_its_own_names() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, Json::Null));
    outside.expect("POST", SNAPSHOTS, Reply::json(202, snapshot("creating")));
    let all = json!({"description": "before the update", "profileId": "p-2", "requestKey": "i-7"});
    create_snapshot(&outside.context(), input(all)).unwrap();
    let sent = json!({
        "volumeId": "v-1", "name": "nightly", "description": "before the update [orchestrator:i-7]", "profileId": "p-2"
    });
    assert_eq!(outside.requests()[1].json(), sent);
}

#[test]
fn a_repeat_finds_the_snapshot_whose_answer_was_lost() {
    let outside = Outside::new();
    let mut other = snapshot("available");
    other["id"] = json!("s-0");
    other["description"] = json!("[orchestrator:another]");
    let mut elsewhere = snapshot("available");
    elsewhere["volumeId"] = json!("v-2");
    outside.expect("GET", LIST, Reply::json(200, json!([other, elsewhere, snapshot("available")])));
    let ctx = Call { attempt: 2, ..Call::default() }.context();
    assert_eq!(create_snapshot(&ctx, input(json!({}))).unwrap().id, "s-1");
}

#[test]
fn the_probe_tells_done_from_not_done_and_asks_for_nothing() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([snapshot("creating")])));
    outside.expect("GET", LIST, Reply::json(200, json!([])));
    let ctx = outside.context();
    let Finding::Done(found) = probe_create_snapshot(&ctx, input(json!({}))).unwrap() else { panic!("it is there") };
    assert_eq!((found.id.as_str(), ctx.left_receipt()), ("s-1", Some(json!({"snapshotId": "s-1"}))));
    assert_eq!(probe_create_snapshot(&outside.context(), input(json!({}))).unwrap(), Finding::NotDone);
}

#[test]
fn a_refusal_is_judged_by_the_volume() {
    let words = "create snapshot failed: only the status of volume is available or in-use, the snapshot can be created";
    let later = Reaction::Transient { retry_after: Some(api::SETTLE) };
    for (volume, reaction, status, told) in [
        (Reply::json(200, json!({"id": "v-1", "status": "attaching"})), later, 503, words),
        (Reply::json(200, json!({"id": "v-1", "status": "error"})), Reaction::Permanent, 400, "; the volume has to be"),
        (fault(404, "gone"), Reaction::Permanent, 404, "there is no volume `v-1`"),
    ] {
        let outside = Outside::new();
        outside.expect("GET", LIST, Reply::json(200, json!([])));
        outside.expect("POST", SNAPSHOTS, fault(400, words));
        outside.expect("GET", VOLUME, volume);
        let error = create_snapshot(&outside.context(), input(json!({}))).unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (reaction, status), "{error}");
        assert!(error.problem.detail.contains(told), "{error}");
    }
}

#[test]
fn failures_of_creating_are_sorted_by_what_the_engine_does_next() {
    let again = Reaction::Transient { retry_after: None };
    for (reply, reaction, status) in [
        (fault(401, "no token"), Reaction::Permanent, 401),
        (fault(403, "not yours"), Reaction::Permanent, 403),
        (fault(409, "conflict"), Reaction::Permanent, 409),
        (fault(429, "slow down"), again, 429),
        (fault(500, "boom"), Reaction::Unknown, 500),
        (fault(503, "starting"), again, 503),
        (Reply::bytes(202, "not json"), Reaction::Unknown, 502),
        (Reply::timeout(), Reaction::Unknown, 504),
        (Reply::interrupted(), Reaction::Unknown, 502),
        (Reply::unavailable(), again, 503),
    ] {
        let outside = Outside::new();
        outside.expect("GET", LIST, Reply::json(200, json!([])));
        outside.expect("POST", SNAPSHOTS, reply);
        let ctx = outside.context();
        let error = create_snapshot(&ctx, input(json!({}))).unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (reaction, status), "{error}");
        assert_eq!(ctx.left_resources(), []);
    }
}

#[test]
fn a_missing_snapshot_is_an_error_unless_it_may_be_missing() {
    let outside = Outside::new();
    outside.expect("GET", ONE, Reply::json(200, snapshot("available")));
    outside.expect("GET", ONE, fault(404, "not found"));
    outside.expect("GET", ONE, fault(404, "not found"));
    assert_eq!(get_snapshot(&outside.context(), id(false)).unwrap().status, "available");
    assert_eq!(get_snapshot(&outside.context(), id(true)).unwrap().status, "deleted");
    assert_eq!(get_snapshot(&outside.context(), id(false)).unwrap_err().problem.status, 404);
}

#[test]
fn the_snapshots_of_a_volume_are_listed_the_oldest_first_or_by_their_key() {
    let mut younger = snapshot("creating");
    younger["id"] = json!("s-0");
    younger["createdAt"] = json!("2021-04-16T15:40:00");
    younger["description"] = json!("[orchestrator:another]");
    for (key, expected) in [(None, vec!["s-1", "s-0"]), (Some("another"), vec!["s-0"])] {
        let outside = Outside::new();
        let all = Reply::json(200, json!([younger, snapshot("available")]));
        outside.expect("GET", "/block/snapshots?volumeId=v-1&limit=50&offset=0", all);
        let input = serde_json::from_value(json!({"volumeId": "v-1", "requestKey": key})).unwrap();
        let found = list_snapshots(&outside.context(), input).unwrap().snapshots;
        assert_eq!(found.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), expected);
    }
}

fn check_delete(reply: Reply, then: Option<Option<&str>>) -> Result<String, Error> {
    let outside = Outside::new();
    outside.expect("DELETE", ONE, reply);
    match then {
        Some(Some(state)) => outside.expect("GET", ONE, Reply::json(200, snapshot(state))),
        Some(None) => outside.expect("GET", ONE, fault(404, "gone")),
        None => {}
    }
    undo_create_snapshot(&outside.context(), id(false))?;
    outside.assert_done();
    Ok("asked".to_owned())
}

#[test]
fn deleting_is_safe_to_repeat() {
    let refused = || fault(400, "only the volume snapshot with the status available, …");
    assert_eq!(check_delete(Reply::status(202), None), Ok("asked".to_owned()));
    assert_eq!(check_delete(fault(404, "gone"), None), Ok("asked".to_owned()));
    assert_eq!(check_delete(refused(), Some(Some("deleting"))), Ok("asked".to_owned()));
    assert_eq!(check_delete(refused(), Some(None)), Ok("asked".to_owned()));
    assert!(check_delete(refused(), Some(Some("creating"))).unwrap_err().is_transient());
    assert_eq!(check_delete(refused(), Some(Some("odd"))).unwrap_err().reaction, Reaction::Permanent);
    assert!(check_delete(Reply::timeout(), None).unwrap_err().is_transient());
}
