//! Each case: what the API answers, and what the action makes of it.

use orchestrator_sdk::testing::{Call, Outside, Reply, Target};
use orchestrator_sdk::{Change, Json, Reaction, json};
use std::time::Duration;

use super::*;

const LIST: &str = "/block/volumes?name=data&limit=50&offset=0";

fn input(more: Json) -> CreateVolume {
    let mut input = json!({"name": "data", "size": 2});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(input).unwrap()
}

fn volume(status: &str) -> Json {
    json!({
        "id": "v-1", "createdAt": "2021-04-16T15:39:59", "updatedAt": "", "tenantId": "t", "name": "data", "size": 2,
        "description": "[orchestrator:key-1]", "availabilityZone": "default", "status": status, "AttachStatus": ""
    })
}

fn fault(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"code": status, "message": message}))
}

#[test]
fn a_new_volume_is_asked_for_with_its_key_and_without_what_is_absent() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([])));
    outside.expect("POST", VOLUMES, Reply::json(202, volume("creating")));
    let ctx = outside.context();

    let made = create_volume(&ctx, input(json!({"description": null, "profileId": null}))).unwrap();

    assert_eq!((made.id.as_str(), made.status.as_str()), ("v-1", "creating"));
    assert_eq!(outside.requests()[1].json(), json!({"name": "data", "size": 2, "description": "[orchestrator:key-1]"}));
    assert_eq!(ctx.left_receipt(), Some(json!({"volumeId": "v-1"})));
    let made: Vec<_> = ctx.left_resources().into_iter().map(|r| (r.kind, r.id, r.change)).collect();
    assert_eq!(made, [("volume".to_owned(), "v-1".to_owned(), Change::Created)]);
}

#[test]
fn everything_given_reaches_the_api_under_its_own_names() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, Json::Null));
    outside.expect("POST", VOLUMES, Reply::json(202, volume("creating")));
    let all = json!({
        "description": "for db", "availabilityZone": "az2", "profileId": "p", "poolId": "o", "snapshotId": "s",
        "snapshotFromCloud": true, "multiAttach": false, "requestKey": "i-7"
    });

    create_volume(&outside.context(), input(all)).unwrap();

    assert_eq!(
        outside.requests()[1].json(),
        json!({
            "name": "data", "size": 2, "description": "for db [orchestrator:i-7]", "availabilityZone": "az2",
            "profileId": "p", "poolId": "o", "snapshotId": "s", "snapshotFromCloud": true, "multiAttach": false
        })
    );
}

#[test]
fn a_repeat_finds_the_volume_whose_answer_was_lost() {
    let outside = Outside::new();
    let mut other = volume("available");
    other["id"] = json!("v-0");
    other["description"] = json!("[orchestrator:key-10]");
    outside.expect("GET", LIST, Reply::json(200, json!([other, volume("available")])));
    let ctx = Call { attempt: 2, ..Call::default() }.context();

    let found = create_volume(&ctx, input(json!({}))).unwrap();

    assert_eq!((found.id.as_str(), found.status.as_str()), ("v-1", "available"));
    assert_eq!(ctx.left_receipt(), Some(json!({"volumeId": "v-1"})));
}

#[test]
fn the_oldest_of_two_volumes_of_one_key_is_taken_and_both_are_listed() {
    let mut younger = volume("creating");
    younger["id"] = json!("v-0");
    younger["createdAt"] = json!("2021-04-16T15:40:00");
    let both = || Reply::json(200, json!([younger.clone(), volume("available")]));
    let outside = Outside::new();
    outside.expect("GET", LIST, both());
    outside.expect("GET", LIST, both());

    let taken = create_volume(&outside.context(), input(json!({}))).unwrap();
    let asked = FindVolumes { name: "data".into(), request_key: "key-1".into() };
    let found = find_volumes(&outside.context(), asked).unwrap();

    assert_eq!(taken.id, "v-1");
    assert_eq!(found.volumes.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(), ["v-1", "v-0"]);
    assert!(outside.logs()[0].1.contains("2 volumes carry the request key"));
}

#[test]
fn a_volume_on_the_second_page_is_found() {
    let outside = Outside::new();
    let mut other = volume("available");
    other["description"] = json!("somebody else's");
    outside.expect("GET", LIST, Reply::json(200, Json::Array(vec![other; 50])));
    outside.expect("GET", "/block/volumes?name=data&limit=50&offset=50", Reply::json(200, json!([volume("error")])));

    assert_eq!(create_volume(&outside.context(), input(json!({}))).unwrap().status, "error");
}

#[test]
fn a_key_that_belongs_to_a_volume_of_another_size_is_a_conflict() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([volume("available")])));

    let error = create_volume(&outside.context(), input(json!({"size": 9}))).unwrap_err();

    assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 409));
    assert!(error.problem.detail.contains("has 2 GB, not 9 GB"), "{error}");
}

#[test]
fn failures_of_creating_are_sorted_by_what_the_engine_does_next() {
    let again = Reaction::Transient { retry_after: None };
    let later = Reaction::Transient { retry_after: Some(Duration::from_secs(7)) };
    let null = "Request body has an error: doesn't match the schema";
    for (reply, reaction, status, words) in [
        (fault(400, null), Reaction::Permanent, 400, "doesn't match the schema; check size, profile"),
        (fault(401, "no token"), Reaction::Permanent, 401, "granted as `backend`"),
        (fault(403, "not yours"), Reaction::Permanent, 403, "granted as `backend`"),
        (Reply::status(429).header("Retry-After", "7"), later, 429, "no body"),
        (fault(503, "starting"), again, 503, "starting"),
        (fault(500, "context deadline exceeded"), Reaction::Unknown, 500, "context deadline exceeded"),
        (Reply::bytes(502, "<html>"), Reaction::Unknown, 502, "<html>"),
        (Reply::bytes(202, "not json"), Reaction::Unknown, 502, "not expected"),
        (Reply::timeout(), Reaction::Unknown, 504, "no response in time"),
        (Reply::interrupted(), Reaction::Unknown, 502, "closed"),
        (Reply::unavailable(), again, 503, "refused"),
        (Reply::denied(), Reaction::Permanent, 403, "not granted"),
    ] {
        let outside = Outside::new();
        outside.expect("GET", LIST, Reply::json(200, json!([])));
        outside.expect("POST", VOLUMES, reply);
        let ctx = outside.context();
        let error = create_volume(&ctx, input(json!({}))).unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (reaction, status), "{error}");
        assert!(error.problem.detail.contains(words), "{error}");
        assert_eq!(ctx.left_resources(), [], "nothing is known to be made");
    }
}

#[test]
fn looking_first_has_no_effect_so_any_outage_of_it_is_worth_another_attempt() {
    for reply in [fault(500, "boom"), Reply::timeout(), Reply::interrupted(), Reply::unavailable()] {
        let outside = Outside::new();
        outside.expect("GET", LIST, reply);
        assert!(create_volume(&outside.context(), input(json!({}))).unwrap_err().is_transient());
    }
}

#[test]
fn the_probe_tells_done_from_not_done_and_asks_for_nothing() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([volume("creating")])));
    outside.expect("GET", LIST, Reply::json(200, json!([])));
    let ctx = outside.context();

    let Finding::Done(found) = probe_create_volume(&ctx, input(json!({}))).unwrap() else { panic!("it is there") };
    assert_eq!(found.id, "v-1");
    assert_eq!(ctx.left_receipt(), Some(json!({"volumeId": "v-1"})));
    assert_eq!(probe_create_volume(&outside.context(), input(json!({}))).unwrap(), Finding::NotDone);
}

fn id(allow_missing: bool) -> VolumeId {
    VolumeId { volume_id: "v/1".to_owned(), allow_missing }
}

const ONE: &str = "/block/volumes/v%2F1";

#[test]
fn a_volume_is_read_by_its_identifier() {
    let outside = Outside::new();
    outside.expect("GET", ONE, Reply::json(200, volume("available")));
    let read = get_volume(&outside.context(), id(false)).unwrap();
    assert_eq!((read.status.as_str(), read.size), ("available", Some(2)));
}

#[test]
fn a_missing_volume_is_an_error_unless_it_may_be_missing() {
    let outside = Outside::new();
    outside.expect("GET", ONE, fault(404, "volume v/1 not found: x"));
    outside.expect("GET", ONE, fault(404, "volume v/1 not found: x"));
    let error = get_volume(&outside.context(), id(false)).unwrap_err();
    assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 404));
    assert_eq!(get_volume(&outside.context(), id(true)).unwrap().status, "deleted");
}

/// What the API answers to the deletion, and, if it is read then, the volume's state (`None`: it is not there).
fn check_delete(reply: Reply, then: Option<Option<&str>>) -> Result<String, Error> {
    check_delete_beside(reply, then, json!([{"id": "a-1", "status": "available", "volumeId": "v/1"}]))
}

fn check_delete_beside(reply: Reply, then: Option<Option<&str>>, attachments: Json) -> Result<String, Error> {
    let outside = Outside::new();
    outside.expect("DELETE", ONE, reply);
    match then {
        Some(Some(state)) => outside.expect("GET", ONE, Reply::json(200, volume(state))),
        Some(None) => outside.expect("GET", ONE, fault(404, "gone")),
        None => {}
    }
    if then == Some(Some("inUse")) {
        outside.expect("GET", "/block/attachments?volumeId=v%2F1&limit=50&offset=0", Reply::json(200, attachments));
    }
    delete_volume(&outside.context(), id(false)).map(|volume| volume.status)
}

#[test]
fn deleting_is_safe_to_repeat() {
    let refused = || fault(400, "delete volume failed: only the volume with the status available, …");
    assert_eq!(check_delete(Reply::status(202), None), Ok("deleting".to_owned()));
    assert_eq!(check_delete(fault(404, "gone"), None), Ok("deleted".to_owned()));
    assert_eq!(check_delete(refused(), Some(Some("deleting"))), Ok("deleting".to_owned()));
    assert_eq!(check_delete(refused(), Some(None)), Ok("deleted".to_owned()));
}

#[test]
fn a_volume_that_is_still_changing_is_deleted_later_and_one_in_use_never() {
    let refused = || fault(400, "the volume status is x");
    let changing = check_delete(refused(), Some(Some("creating"))).unwrap_err();
    assert_eq!(changing.reaction, Reaction::Transient { retry_after: Some(api::SETTLE) });
    let used = check_delete(refused(), Some(Some("inUse"))).unwrap_err();
    assert_eq!((used.reaction, used.problem.status), (Reaction::Permanent, 400));
    assert!(used.problem.detail.contains("the volume status is x; detach it"), "{used}");
    let settling = check_delete_beside(refused(), Some(Some("inUse")), json!([])).unwrap_err();
    assert!(settling.is_transient(), "its last attachment has just gone");
    assert!(check_delete(fault(500, "boom"), None).unwrap_err().is_transient());
    assert!(check_delete(Reply::timeout(), None).unwrap_err().is_transient());
}

#[test]
fn undo_deletes_what_the_receipt_names() {
    let outside = Outside::new();
    outside.expect("DELETE", Target::starting_with("/block/volumes/v-1"), Reply::status(202));
    let ctx = outside.context();
    let receipt = serde_json::from_value(json!({"volumeId": "v-1"})).unwrap();
    undo_create_volume(&ctx, receipt).unwrap();
    assert_eq!(ctx.left_resources()[0].change, Change::Deleted);
}

#[test]
fn volumes_are_listed_the_oldest_first_with_the_filters_that_were_given() {
    let outside = Outside::new();
    let mut younger = volume("creating");
    younger["id"] = json!("v-0");
    younger["createdAt"] = json!("2021-04-16T15:40:00");
    let target = "/block/volumes?name=data&status=error&profileId=p&poolId=o&limit=50&offset=0";
    outside.expect("GET", target, Reply::json(200, json!([younger, volume("available")])));
    outside.expect("GET", "/block/volumes?limit=50&offset=0", Reply::json(200, Json::Null));
    let all = json!({"name": "data", "status": "error", "profileId": "p", "poolId": "o"});
    let found = list_volumes(&outside.context(), serde_json::from_value(all).unwrap()).unwrap().volumes;
    assert_eq!(found.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(), ["v-1", "v-0"]);
    assert_eq!(list_volumes(&outside.context(), ListVolumes::default()).unwrap().volumes, []);
}

#[test]
fn a_volume_that_stays_in_use_after_a_failed_detach_says_whom_to_ask() {
    let error =
        check_delete_beside(fault(400, "the volume status is inUse"), Some(Some("inUse")), json!([])).unwrap_err();
    assert!(error.problem.detail.contains("the storage driver failed to detach it"), "{error}");
}

#[test]
fn a_refusal_that_is_not_json_is_told_as_it_came() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([])));
    outside.expect("POST", VOLUMES, Reply::bytes(400, "<html>bad gateway</html>"));
    let error = create_volume(&outside.context(), input(json!({}))).unwrap_err();
    assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 400));
    assert!(error.problem.detail.contains("bad gateway"), "{error}");
}
