//! Each case: what the API answers, and what the action makes of it.

use orchestrator_sdk::action::{Invocation, Phase, Reply as Answer};
use orchestrator_sdk::testing::{Call, Outside, Reply};
use orchestrator_sdk::{Json, Reaction, json};
use std::time::Duration;

use super::*;

const LIST: &str = "/block/attachments?volumeId=v-1&hostId=h-1&limit=50&offset=0";

fn input(mode: Option<&str>) -> AttachVolume {
    serde_json::from_value(json!({"volumeId": "v-1", "hostId": "h-1", "attachMode": mode})).unwrap()
}

fn attachment(id: &str, status: &str) -> Json {
    json!({
        "id": id, "createdAt": "2021-04-16T15:39:59", "updatedAt": "", "tenantId": "t", "hostId": "h-1",
        "volumeId": "v-1", "status": status, "attachMode": "rw", "accessProtocol": "iscsi", "connectionInfo": {}
    })
}

fn fault(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"code": status, "message": message}))
}

#[test]
fn a_volume_is_attached_read_write_unless_asked_otherwise() {
    for (mode, sent) in [(None, "rw"), (Some("rw"), "rw"), (Some("ro"), "ro")] {
        let outside = Outside::new();
        let mut made = attachment("a-1", "creating");
        made["attachMode"] = json!(sent);
        outside.expect("GET", LIST, Reply::json(200, json!([])));
        outside.expect("POST", ATTACHMENTS, Reply::json(202, made));
        let ctx = outside.context();

        assert_eq!(attach_volume(&ctx, input(mode)).unwrap().status, "creating");

        let body = json!({"volumeId": "v-1", "hostId": "h-1", "attachMode": sent});
        assert_eq!(outside.requests()[1].json(), body);
        assert_eq!(ctx.left_receipt(), Some(json!({"attachmentId": "a-1"})));
        assert_eq!(outside.checkpoints(), [] as [Json; 0], "there was nothing to tell apart");
    }
}

#[test]
fn an_attachment_of_the_pair_is_found_and_not_made_twice() {
    let outside = Outside::new();
    let mut elsewhere = attachment("a-0", "available");
    elsewhere["hostId"] = json!("h-2");
    outside.expect("GET", LIST, Reply::json(200, json!([elsewhere, attachment("a-1", "creating")])));
    assert_eq!(attach_volume(&outside.context(), input(None)).unwrap().id, "a-1");
}

#[test]
fn the_attachments_of_a_volume_are_listed_over_all_hosts_or_one() {
    let mut elsewhere = attachment("a-2", "available");
    elsewhere["hostId"] = json!("h-2");
    let all = || Reply::json(200, json!([attachment("a-1", "error"), elsewhere.clone()]));
    let outside = Outside::new();
    outside.expect("GET", "/block/attachments?volumeId=v-1&limit=50&offset=0", all());
    outside.expect("GET", LIST, all());
    for (host, expected) in [(None, vec!["a-1", "a-2"]), (Some("h-1"), vec!["a-1"])] {
        let input = serde_json::from_value(json!({"volumeId": "v-1", "hostId": host})).unwrap();
        let found = find_attachments(&outside.context(), input).unwrap().attachments;
        assert_eq!(found.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn an_attachment_in_another_mode_is_a_conflict() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([attachment("a-1", "available")])));
    let error = attach_volume(&outside.context(), input(Some("ro"))).unwrap_err();
    assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 409));
    assert!(error.problem.detail.contains("as `rw`, not `ro`; delete `a-1` first"), "{error}");
}

#[test]
fn a_failed_attachment_of_the_past_does_not_hinder_a_new_one() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([attachment("a-0", "error"), attachment("a-9", "deleting")])));
    outside.expect("POST", ATTACHMENTS, Reply::json(202, attachment("a-1", "creating")));
    assert_eq!(attach_volume(&outside.context(), input(None)).unwrap().id, "a-1");
    assert_eq!(outside.checkpoints(), [json!({"attachments": ["a-0", "a-9"]})]);
}

#[test]
fn a_repeat_knows_its_own_failed_attachment_from_one_of_the_past() {
    let there = || Reply::json(200, json!([attachment("a-0", "error"), attachment("a-1", "error")]));
    let repeat = || {
        let checkpoint = Some(json!({"attachments": ["a-0"]}));
        Call { attempt: 2, checkpoint, ..Call::default() }.context()
    };
    let outside = Outside::new();
    outside.expect("GET", LIST, there());
    outside.expect("GET", LIST, there());
    assert_eq!(attach_volume(&repeat(), input(None)).unwrap().id, "a-1");
    let Finding::Done(found) = probe_attach_volume(&repeat(), input(None)).unwrap() else { panic!("it is there") };
    assert_eq!((found.id.as_str(), found.status.as_str()), ("a-1", "error"));
}

#[test]
fn the_probe_of_nothing_says_not_done() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, Json::Null));
    assert_eq!(probe_attach_volume(&outside.context(), input(None)).unwrap(), Finding::NotDone);
}

#[test]
fn failures_of_attaching_are_sorted_by_what_the_engine_does_next() {
    let again = Reaction::Transient { retry_after: None };
    for (reply, reaction, status, words) in [
        (fault(400, "the volume is not available"), Reaction::Permanent, 400, "is not available; the volume has to be"),
        (fault(401, "no"), Reaction::Permanent, 401, "granted as `backend`"),
        (fault(404, "host h-1 not found"), Reaction::Permanent, 404, "host h-1 not found"),
        (fault(503, "starting"), again, 503, "starting"),
        (fault(500, "boom"), Reaction::Unknown, 500, "boom"),
        (Reply::timeout(), Reaction::Unknown, 504, "no response in time"),
        (Reply::unavailable(), again, 503, "refused"),
    ] {
        let outside = Outside::new();
        outside.expect("GET", LIST, Reply::json(200, json!([])));
        outside.expect("POST", ATTACHMENTS, reply);
        if status == 400 {
            let volume = json!({"id": "v-1", "status": "available"});
            outside.expect("GET", "/block/volumes/v-1", Reply::json(200, volume));
        }
        let error = attach_volume(&outside.context(), input(None)).unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (reaction, status), "{error}");
        assert!(error.problem.detail.contains(words), "{error}");
    }
}

#[test]
fn a_checkpoint_that_is_not_stored_stops_before_anything_is_made() {
    let outside = Outside::new();
    outside.refuse_checkpoints(orchestrator_sdk::progress::CheckpointError::Unavailable("disk full".into()));
    outside.expect("GET", LIST, Reply::json(200, json!([attachment("a-0", "error")])));
    assert!(attach_volume(&outside.context(), input(None)).unwrap_err().is_transient());
}

fn id(allow_missing: bool) -> AttachmentId {
    AttachmentId { attachment_id: "a-1".to_owned(), allow_missing }
}

const ONE: &str = "/block/attachments/a-1";

#[test]
fn what_a_host_needs_is_shown_and_its_password_is_not() {
    let outside = Outside::new();
    let mut shown = attachment("a-1", "available");
    shown["connectionInfo"] = json!({"driverVolumeType": "iscsi", "data": {
        "targetPortal": ["192.168.56.128:3260"], "targetLun": 1, "authUserName": "u", "authPassword": "p",
        "more": [{"discoveryAuthPassword": "q"}]
    }});
    outside.expect("GET", ONE, Reply::json(200, shown));
    let info = get_attachment(&outside.context(), id(false)).unwrap().connection_info.unwrap();
    assert_eq!(
        info,
        json!({"driverVolumeType": "iscsi", "data": {
            "targetPortal": ["192.168.56.128:3260"], "targetLun": 1, "more": [{}]
        }})
    );
}

#[test]
fn a_missing_attachment_is_an_error_unless_it_may_be_missing() {
    let outside = Outside::new();
    outside.expect("GET", ONE, fault(404, "gone"));
    outside.expect("GET", ONE, fault(404, "gone"));
    assert_eq!(get_attachment(&outside.context(), id(false)).unwrap_err().problem.status, 404);
    assert_eq!(get_attachment(&outside.context(), id(true)).unwrap().status, "deleted");
}

fn check_delete(reply: Reply, then: Option<&str>) -> Result<String, Error> {
    let outside = Outside::new();
    outside.expect("DELETE", ONE, reply);
    if let Some(state) = then {
        outside.expect("GET", ONE, Reply::json(200, attachment("a-1", state)));
    }
    delete_attachment(&outside.context(), id(false)).map(|attachment| attachment.status)
}

#[test]
fn detaching_is_safe_to_repeat_and_waits_for_what_is_still_being_made() {
    assert_eq!(check_delete(Reply::status(202), None), Ok("deleting".to_owned()));
    assert_eq!(check_delete(fault(404, "gone"), None), Ok("deleted".to_owned()));
    assert_eq!(check_delete(fault(400, "status"), Some("deleting")), Ok("deleting".to_owned()));
    assert!(check_delete(fault(400, "status"), Some("creating")).unwrap_err().is_transient());
    assert_eq!(check_delete(fault(400, "status"), Some("odd")).unwrap_err().reaction, Reaction::Permanent);
}

fn invocation(action: &str, phase: Phase) -> Invocation {
    Invocation {
        action: action.to_owned(),
        phase,
        instance: "i".to_owned(),
        task: "/do/0/x".to_owned(),
        idempotency_key: "key-1".to_owned(),
        attempt: 1,
        timeout: Duration::from_secs(30),
        checkpoint: None,
    }
}

#[test]
fn the_component_serves_its_actions_by_name_and_phase() {
    let outside = Outside::new();
    outside.expect("DELETE", ONE, Reply::status(202));
    let undone =
        crate::serve_action(invocation("attach-volume", Phase::Undo(json!({"attachmentId": "a-1"}).to_string())));
    assert_eq!(undone, Ok(Answer::Undone));
    assert_eq!(crate::serve_action(invocation("get-volume", Phase::Undo("{}".into()))), Ok(Answer::Unsupported));

    let wrong = crate::serve_action(invocation("get-volume", Phase::Run("{}".into()))).unwrap_err();
    assert_eq!((wrong.reaction, wrong.problem.status), (Reaction::Permanent, 400));
    assert!(wrong.problem.detail.contains("missing field `volumeId`"), "{wrong}");
    let unknown = crate::serve_action(invocation("get-volumes", Phase::Run("{}".into()))).unwrap_err();
    assert!(unknown.problem.detail.contains("no action `get-volumes`; it has create-volume, "), "{unknown}");
}

#[test]
fn the_create_attach_race_is_another_try_and_any_other_refusal_is_not() {
    let words = "only the status of volume is available, attachment can be created";
    for (state, transient) in
        [("creating", true), ("attaching", true), ("extending", true), ("available", true), ("deleting", false)]
    {
        let outside = Outside::new();
        outside.expect("GET", LIST, Reply::json(200, json!([])));
        outside.expect("POST", ATTACHMENTS, fault(400, words));
        outside.expect("GET", "/block/volumes/v-1", Reply::json(200, json!({"id": "v-1", "status": state})));
        let error = attach_volume(&outside.context(), input(None)).unwrap_err();
        assert_eq!(error.is_transient(), transient, "{state}: {error}");
        assert!(error.problem.detail.contains(words), "{error}");
    }
}

#[test]
fn attachments_are_listed_over_all_volumes_too() {
    let outside = Outside::new();
    outside.expect(
        "GET",
        "/block/attachments?limit=50&offset=0",
        Reply::json(200, json!([attachment("a-1", "error")])),
    );
    let input = serde_json::from_value(json!({"volumeId": null})).unwrap();
    assert_eq!(find_attachments(&outside.context(), input).unwrap().attachments.len(), 1);
}
