//! The actions against queued replies.

use orchestrator_sdk::mail::{MailErrorKind, Outcome};
use orchestrator_sdk::notification::{Delivery, PostErrorKind, Recipients, Severity};
use orchestrator_sdk::testing::{Call, Outside, Reply};
use orchestrator_sdk::{Context, Error, Json, Reaction, json};

use crate::{Channel, Delivered, Notified, Notify, notify};

const LONG: &str = "/api/notifications/notifications";

fn tell(ctx: &Context, input: Json) -> Result<Notified, Error> {
    notify(ctx, serde_json::from_value::<Notify>(input).expect("the input fits"))
}

fn delivered(channel: Channel, id: Option<&str>) -> Delivered {
    Delivered { channel, id: id.map(str::to_owned), note: None }
}

#[test]
fn everybody_is_told_by_the_inbox_unless_something_else_is_said() {
    let outside = Outside::new();
    let told = tell(&outside.context(), json!({"title": "Disk full"})).unwrap();
    assert_eq!(told.delivered, [delivered(Channel::Inbox, Some("notification-1"))]);
    assert_eq!((told.id.as_str(), told.suppressed), ("notification-1", false));
    let posted = &outside.notifications()[0];
    assert_eq!((posted.severity, &posted.recipients), (Severity::Normal, &Recipients::Broadcast));
}

#[test]
fn every_channel_is_told_in_its_own_words() {
    let outside = Outside::new();
    outside.expect("POST", LONG, Reply::json(200, json!([{"id": "b-1", "user": "user:default/ann"}])));
    outside.expect("POST", "", Reply::bytes(200, "ok"));
    outside.expect("POST", "", Reply::json(202, json!({"id": "w-1"})));
    let input = json!({
        "title": "VM {vm} is full", "values": {"vm": "<db>"}, "description": "act & look", "severity": "critical",
        "topic": "disks", "link": "https://a.example/7",
        "recipients": {"type": "entity", "entityRef": ["user:default/ann"]},
        "channels": ["webhook", "slack", "mail", "inbox", "backstage", "inbox"],
    });
    let told = tell(&outside.context(), input).unwrap();
    assert_eq!(told.delivered.len(), 5);
    let [backstage, slack, webhook] = &outside.requests()[..] else { panic!("{:?}", outside.requests()) };
    assert_eq!(backstage.connection, "backstage");
    assert_eq!(backstage.json()["recipients"], json!({"type": "entity", "entityRef": ["user:default/ann"]}));
    assert_eq!(backstage.json()["payload"]["scope"], "key-1", "a repeat updates");
    assert_eq!(slack.json()["text"], ":rotating_light: VM &lt;db&gt; is full");
    assert_eq!(slack.json()["blocks"][1]["text"]["text"], "act &amp; look");
    assert_eq!(webhook.json()["id"], "key-1");
    let mail = &outside.mails()[0];
    assert_eq!((mail.subject.as_str(), &mail.to), ("VM <db> is full", &vec!["user:default/ann".to_owned()]));
    assert!(mail.html.as_deref().unwrap().contains("VM &lt;db&gt; is full"));
    assert_eq!((mail.severity, mail.topic.as_deref()), (Some(Severity::Critical), Some("disks")));
}

#[test]
fn one_channel_that_fails_does_not_keep_the_others_from_being_told() {
    let outside = Outside::new();
    outside.expect("POST", LONG, Reply::status(503));
    outside.mail_ends(Err(MailErrorKind::Refused("the mail server refused to name the sender (550)".to_owned())));
    outside.expect("POST", "", Reply::bytes(200, "ok"));
    let input = json!({"title": "a", "channels": ["inbox", "backstage", "mail", "slack"]});
    let error = tell(&outside.context(), input).unwrap_err();
    assert!(error.is_transient(), "Backstage may come back: {error:?}");
    let detail = &error.problem.detail;
    for part in ["backstage: ", "503", "mail: the mail server refused", "told were: inbox, slack"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
}

#[test]
fn a_retry_tells_only_the_channels_that_were_not_told() {
    let outside = Outside::new();
    let input = json!({"title": "a", "channels": ["inbox", "mail", "slack"]});
    outside.expect("POST", "", Reply::status(503));
    assert!(tell(&outside.context(), input.clone()).unwrap_err().is_transient());
    outside.expect("POST", "", Reply::bytes(200, "ok"));
    let retry = Call { idempotency_key: "key-2".to_owned(), ..Call::default() }.context();
    let told = tell(&retry, input.clone()).unwrap();
    assert_eq!((told.delivered.len(), told.suppressed), (3, false));
    assert_eq!((outside.notifications().len(), outside.mails().len()), (1, 1), "nobody is told twice");
    // The next time round is another notification.
    outside.expect("POST", "", Reply::bytes(200, "ok"));
    let again = Call { idempotency_key: "key-3".to_owned(), ..Call::default() }.context();
    assert_eq!(tell(&again, input).unwrap().delivered.len(), 3);
    assert_eq!(outside.mails().len(), 2);
}

#[test]
fn a_repeat_after_a_crash_goes_on_from_the_checkpoint() {
    let outside = Outside::new();
    let input = json!({"title": "a", "channels": ["inbox", "mail"]});
    tell(&outside.context(), input.clone()).unwrap();
    let first = outside.checkpoints()[0].clone();
    assert_eq!(first, json!({"told": [{"channel": "inbox", "id": "notification-1"}]}));
    let repeat = Call { attempt: 2, checkpoint: Some(first), ..Call::default() }.context();
    let told = tell(&repeat, input).unwrap();
    assert_eq!((told.delivered.len(), told.suppressed), (2, false));
    assert_eq!((outside.notifications().len(), outside.mails().len()), (1, 2));
}

#[test]
fn a_key_tells_once_and_updates_where_that_is_possible() {
    let outside = Outside::new();
    let input = |title: &str| json!({"title": title, "key": "disk-7", "channels": ["inbox", "mail"]});
    assert!(!tell(&outside.context(), input("90 %")).unwrap().suppressed);
    let same = tell(&outside.context(), input("90 %")).unwrap();
    assert!(same.suppressed, "{same:?}");
    assert_eq!(same.id, "notification-disk-7");
    let changed = tell(&outside.context(), input("95 %")).unwrap();
    assert!(!changed.suppressed);
    assert_eq!(outside.notifications().len(), 1);
    assert_eq!(outside.notifications()[0].title, "95 %");
    assert_eq!(outside.mails().len(), 1, "mail is sent once");
}

#[test]
fn what_another_instance_told_under_the_key_is_not_told_again() {
    let outside = Outside::new();
    let delivery = Delivery { channel: "slack".to_owned(), id: None, digest: "other".to_owned() };
    outside.note_told("disk-7", delivery);
    let told = tell(&outside.context(), json!({"title": "a", "key": "disk-7", "channels": ["slack"]})).unwrap();
    assert!(told.suppressed);
    assert_eq!(told.delivered, [delivered(Channel::Slack, None)]);
}

#[test]
fn one_channel_is_enough_where_the_caller_says_so() {
    let outside = Outside::new();
    outside.expect("POST", "", Reply::status(404));
    let input = json!({"title": "a", "channels": ["inbox", "slack"], "require": "any"});
    let told = tell(&outside.context(), input).unwrap();
    assert_eq!(told.delivered.len(), 1);
    assert_eq!((told.failed[0].channel, told.failed[0].status), (Channel::Slack, 404));
    assert!(told.failed[0].detail.contains("make a new one"), "{:?}", told.failed);
    let outside = Outside::new();
    outside.expect("POST", "", Reply::status(404));
    outside.refuse_notifications(Some(PostErrorKind::Unavailable("the store is away".to_owned())));
    let input = json!({"title": "a", "channels": ["inbox", "slack"], "require": "any"});
    assert!(tell(&outside.context(), input).unwrap_err().is_transient());
}

#[test]
fn a_filter_of_the_mail_connection_is_no_failure() {
    let outside = Outside::new();
    outside.mail_ends(Ok(Outcome::Filtered("the connection sends no mail below severity `high`".to_owned())));
    let told = tell(&outside.context(), json!({"title": "a", "channels": ["mail"]})).unwrap();
    assert_eq!(told.skipped[0].channel, Channel::Mail);
    assert!(told.delivered.is_empty() && !told.suppressed);
}

#[test]
fn backstage_is_found_by_its_older_path_and_its_refusals_say_what_to_do() {
    let check = |replies: &[(&str, Reply)], expected: Result<Option<&str>, (&str, bool)>| {
        let outside = Outside::new();
        for (path, reply) in replies {
            outside.expect("POST", *path, reply.clone());
        }
        match (tell(&outside.context(), json!({"title": "a", "channels": ["backstage"]})), expected) {
            (Ok(told), Ok(id)) => assert_eq!(told.delivered[0].id.as_deref(), id),
            (Err(error), Err((text, transient))) => {
                assert!(error.problem.detail.contains(text), "{}", error.problem.detail);
                assert_eq!(error.is_transient(), transient, "{error:?}");
            }
            (found, _) => panic!("{found:?}"),
        }
    };
    let made = || Reply::json(200, json!([{"id": "b-1"}]));
    let older = "/api/notifications";
    check(&[(LONG, made())], Ok(Some("b-1")));
    check(&[(LONG, Reply::status(404)), (older, made())], Ok(Some("b-1")));
    check(&[(LONG, Reply::json(200, json!([])))], Ok(None));
    check(&[(LONG, Reply::status(404)), (older, Reply::status(404))], Err(("plugin is not installed", false)));
    check(&[(LONG, Reply::status(401))], Err(("externalAccess", false)));
    check(&[(LONG, Reply::status(403))], Err(("externalAccess", false)));
    check(&[(LONG, Reply::status(503))], Err(("503", true)));
    check(&[(LONG, Reply::timeout())], Err(("backstage", true)));
}

#[test]
fn slack_s_own_api_says_in_the_body_what_is_wrong() {
    let check = |body: Json, expected: Result<(), (u16, bool)>| {
        let outside = Outside::new();
        outside.expect("POST", "/chat.postMessage", Reply::json(200, body.clone()));
        let told = tell(&outside.context(), json!({"title": "a", "channels": ["slack"], "slackChannel": "#ops"}));
        let found = told.map(drop).map_err(|error| (error.problem.status, error.is_transient()));
        assert_eq!(found, expected, "{body}");
        assert_eq!(outside.requests()[0].json()["channel"], "#ops");
    };
    check(json!({"ok": true, "ts": "1.2"}), Ok(()));
    check(json!({"ok": false, "error": "invalid_auth"}), Err((401, false)));
    check(json!({"ok": false, "error": "ratelimited"}), Err((503, true)));
    check(json!({"ok": false, "error": "channel_not_found"}), Err((500, false)));
}

#[test]
fn mail_that_may_be_on_its_way_is_an_unknown_outcome() {
    let outside = Outside::new();
    outside.mail_ends(Err(MailErrorKind::Interrupted("lost".to_owned())));
    let error = tell(&outside.context(), json!({"title": "a", "channels": ["mail"]})).unwrap_err();
    assert_eq!(error.reaction, Reaction::Unknown);
}

#[test]
fn a_wrong_input_tells_nobody() {
    for input in [
        json!({"title": "{vm}", "values": {}}),
        json!({"title": " "}),
        json!({"title": "a", "recipients": {"type": "entity", "entityRef": []}}),
    ] {
        let outside = Outside::new();
        assert_eq!(tell(&outside.context(), input.clone()).unwrap_err().problem.status, 400, "{input}");
        assert!(outside.notifications().is_empty());
    }
}
