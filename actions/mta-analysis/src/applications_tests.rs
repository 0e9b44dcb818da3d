//! Each case: what the hub answers, and what the action makes of it.

use orchestrator_sdk::testing::{Outside, Reply};
use orchestrator_sdk::{Reaction, standard};

use super::*;

fn input(more: Json) -> EnsureApplication {
    let mut input = json!({"repositoryUrl": "https://git.example/org/shop.git"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(input).unwrap()
}

fn seen(id: u64, name: &str, url: &str) -> Json {
    json!({"id": id, "name": name, "comments": "", "repository": {"kind": "git", "url": url, "branch": "", "path": ""}})
}

#[test]
fn an_application_is_made_under_its_repository_s_name_with_its_key() {
    let outside = Outside::new();
    outside.expect("GET", "/applications", Reply::json(200, Json::Null));
    outside.expect(
        "POST",
        "/applications",
        Reply::json(
            201,
            json!({"id": 7, "name": "git.example/org/shop",
        "comments": "[orchestrator:key-1]", "repository": {"url": "https://git.example/org/shop.git"}}),
        ),
    );

    let made = ensure_application(&outside.context(), input(json!({"branch": null}))).unwrap();

    assert_eq!((made.id, made.name.as_str(), made.created), (7, "git.example/org/shop", true));
    assert_eq!(
        outside.requests()[1].json(),
        json!({"name": "git.example/org/shop", "comments": "[orchestrator:key-1]",
            "repository": {"kind": "git", "url": "https://git.example/org/shop.git"}})
    );
}

/// What the inventory has, what is asked for, and the identifier found or the status of the refusal.
#[test]
fn an_application_is_found_by_name_and_repository() {
    let there = [seen(3, "other", "https://git.example/org/other"), seen(4, "shop", "http://GIT.example/org/shop/")];
    let check = |more: Json, expected: Result<u64, u16>| {
        let outside = Outside::new();
        outside.expect("GET", "/applications", Reply::json(200, json!(there)));
        if expected == Ok(9) {
            let url = "https://git.example/org/shop.git";
            outside.expect("POST", "/applications", Reply::json(201, seen(9, "new", url)));
        }
        let found = ensure_application(&outside.context(), input(more.clone()));
        let found = found.map(|found| found.id).map_err(|error| error.problem.status);
        assert_eq!(found, expected, "{more}");
    };
    check(json!({}), Ok(4));
    check(json!({"name": "shop"}), Ok(4));
    check(json!({"name": "other"}), Err(409));
    check(json!({"name": "new"}), Ok(9));
    check(json!({"branch": "next"}), Ok(9));
    check(json!({"name": "shop", "branch": "next"}), Err(409));
    check(json!({"name": "shop", "path": "backend"}), Err(409));
}

#[test]
fn a_repeat_still_knows_that_it_made_the_application() {
    let mut mine = seen(7, "git.example/org/shop", "https://git.example/org/shop.git");
    mine["comments"] = json!("by hand [orchestrator:key-1]");
    let outside = Outside::new();
    outside.expect("GET", "/applications", Reply::json(200, json!([mine])));
    assert!(ensure_application(&outside.context(), input(json!({}))).unwrap().created);

    let outside = Outside::new();
    outside.expect("GET", "/applications", Reply::json(200, json!([mine])));
    let later = input(json!({"requestKey": "another"}));
    assert!(!ensure_application(&outside.context(), later).unwrap().created);
}

#[test]
fn who_was_slower_takes_the_application_of_who_was_faster() {
    let outside = Outside::new();
    outside.expect("GET", "/applications", Reply::json(200, json!([])));
    let taken = json!({"error": "UNIQUE constraint failed: Application.Name"});
    outside.expect("POST", "/applications", Reply::json(409, taken));
    let there = seen(8, "git.example/org/shop", "https://git.example/org/shop");
    outside.expect("GET", "/applications", Reply::json(200, json!([there])));
    let found = ensure_application(&outside.context(), input(json!({}))).unwrap();
    assert_eq!((found.id, found.created), (8, false));
}

#[test]
fn refusals_say_what_to_do() {
    for (reply, reaction, kind, word) in [
        (Reply::status(401), Reaction::Permanent, standard::AUTHENTICATION, "oauth2"),
        (Reply::json(400, json!({"error": "bad"})), Reaction::Permanent, standard::VALIDATION, "check name"),
        (Reply::status(503), Reaction::Transient { retry_after: None }, standard::COMMUNICATION, "503"),
        (Reply::status(500), Reaction::Unknown, standard::COMMUNICATION, "500"),
        (Reply::timeout(), Reaction::Unknown, standard::COMMUNICATION, "in time"),
    ] {
        let outside = Outside::new();
        outside.expect("GET", "/applications", Reply::json(200, json!([])));
        outside.expect("POST", "/applications", reply);
        let error = ensure_application(&outside.context(), input(json!({}))).unwrap_err();
        assert_eq!((error.reaction, error.problem.kind.as_str()), (reaction, kind));
        assert!(error.problem.detail.contains(word), "{error}");
    }
}

#[test]
fn an_application_that_is_gone_is_removed() {
    for status in [204, 404] {
        let outside = Outside::new();
        outside.expect("DELETE", "/applications/7", Reply::status(status));
        remove_application(&outside.context(), ApplicationId { application_id: 7 }).unwrap();
    }
}

#[test]
fn only_an_application_that_is_ours_and_nobody_else_s_is_removed() {
    let check = |more: Json, others: [Json; 3], expected: Option<&str>| {
        let mut mine = seen(7, "shop", "https://git.example/org/shop.git");
        mine["comments"] = json!("[orchestrator:i-1]");
        mine.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let outside = Outside::new();
        outside.expect("GET", "/applications", Reply::json(200, json!([seen(3, "other", "x"), mine])));
        let asks = if expected.is_some_and(|why| why.contains("owner") || why.contains("archetype")) { 0 } else { 3 };
        for (path, list) in ["/taskgroups", "/tasks", "/tickets"].iter().zip(others).take(asks) {
            if *path == "/tickets" && expected.is_some_and(|why| why.contains("analysis")) {
                continue;
            }
            outside.expect("GET", *path, Reply::json(200, list));
        }
        if expected.is_none() {
            outside.expect("DELETE", "/applications/7", Reply::status(204));
        }
        let input = OwnApplication { request_key: "i-1".to_owned() };
        let told = remove_own_application(&outside.context(), input).unwrap();
        assert_eq!((told.application_id, told.kept.as_deref()), (Some(7), expected));
    };
    let none = || [Json::Null, json!([]), json!([])];
    let task = |kind: Json| json!([{"id": 1, "name": "a.1", "kind": kind, "application": {"id": 7, "name": "shop"}}]);
    let group = json!([{"id": 1, "name": "g", "tasks": task(Json::Null)}]);
    check(json!({"owner": null, "contributors": [], "archetypes": null}), none(), None);
    check(json!({"owner": {"id": 1}}), none(), Some("it has an owner"));
    check(json!({"archetypes": [{"id": 1}]}), none(), Some("it has an archetype"));
    check(json!({}), [json!([]), task(json!("language-discovery")), json!([])], None);
    check(json!({}), [json!([]), task(json!("analyzer")), json!([])], Some("it has the analysis `a.1`"));
    check(json!({}), [group, json!([]), json!([])], Some("it has the analysis `a.1`"));
    check(json!({}), [json!([]), json!([]), task(Json::Null)], Some("it has a ticket"));
}

#[test]
fn an_application_of_another_request_is_not_touched() {
    let outside = Outside::new();
    let mut other = seen(7, "shop", "https://git.example/org/shop.git");
    other["comments"] = json!("[orchestrator:i-2]");
    outside.expect("GET", "/applications", Reply::json(200, json!([other])));
    let input = OwnApplication { request_key: "i-1".to_owned() };
    assert_eq!(remove_own_application(&outside.context(), input).unwrap(), OwnRemoved::default());
}
