//! Each case: a body as some release writes it, and what is read.

use orchestrator_sdk::json;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    id: String,
    #[serde(default)]
    attach_status: Option<String>,
    #[serde(default)]
    created_at: Time,
}

fn check(body: Json, expected: Option<(&str, Option<&str>, Option<&str>)>) {
    let read: Result<Settled<Seen>, _> = serde_json::from_value(body.clone());
    let told = read.ok().map(|Settled(seen)| (seen.id, seen.attach_status, seen.created_at));
    let owned = |text: Option<&str>| text.map(str::to_owned);
    assert_eq!(told, expected.map(|(id, status, at)| (id.to_owned(), owned(status), owned(at))), "{body}");
}

#[test]
fn keys_are_read_in_the_case_of_every_release() {
    check(json!({"id": "a", "AttachStatus": "attached"}), Some(("a", Some("attached"), None)));
    check(json!({"id": "a", "attachStatus": "attached"}), Some(("a", Some("attached"), None)));
    check(json!({"Id": "a", "attachstatus": "attached", "CreatedAt": "t"}), Some(("a", Some("attached"), Some("t"))));
    check(json!({"ID": "a", "AttachStatus": "", "attachStatus": "attached"}), Some(("a", Some("attached"), None)));
    check(json!({"name": "without an identifier"}), None);
}

#[test]
fn what_is_empty_or_null_counts_as_absent() {
    check(json!({"id": "a", "AttachStatus": "", "createdAt": null}), Some(("a", None, None)));
    check(json!({"id": ""}), None);
}

#[test]
fn times_without_a_zone_stay_the_texts_they_are() {
    let time = "2021-04-16T15:39:59";
    check(json!({"id": "a", "createdAt": time}), Some(("a", None, Some(time))));
    check(json!({"id": "a", "createdAt": "2021-04-16T15:39:59Z"}), Some(("a", None, Some("2021-04-16T15:39:59Z"))));
}

#[test]
fn what_stands_below_a_key_is_left_alone() {
    let settled = settle(json!({"ConnectionInfo": {"TargetIQN": "", "Id": null}}));
    assert_eq!(settled, json!({"connectionInfo": {"TargetIQN": "", "Id": null}}));
}

#[test]
fn a_body_has_no_null() {
    assert_eq!(body(&json!({"name": "a", "profileId": null})), json!({"name": "a"}));
}
