//! The actions against queued answers, most of them captured from the real service.

use orchestrator_sdk::testing::{Outside, Reply, Target};
use orchestrator_sdk::{Json, json};

use crate::{backends, buckets, plans};

fn wanted() -> plans::Wanted {
    serde_json::from_value(json!({
        "name": "nightly move", "description": null, "sourceBucket": "b1", "destinationBucket": "b2",
        "prefix": null, "remainSource": null, "requestKey": "0190-ab",
    }))
    .expect("an input")
}

fn plan(id: &str) -> Json {
    json!({"id": id, "name": "nightly-move-0190-ab", "description": "for test", "type": "migration",
        "sourceConn": {"storType": "opensds-obj", "bucketName": "b1"},
        "destConn": {"storType": "opensds-obj", "bucketName": "b2"}, "filter": {}, "remainSource": true})
}

fn list(path: &str) -> Target {
    Target::starting_with(&format!("{path}?limit="))
}

#[test]
fn a_plan_is_made_once_under_a_name_of_its_own() {
    let outside = Outside::new();
    outside.expect("GET", list("/plans"), Reply::json(200, json!({"next": 0})));
    outside.expect("POST", "/plans", Reply::json(200, json!({"plan": plan("5ed8838e21c156000102bcfd")})));
    let made = plans::create(&outside.context(), wanted()).expect("a plan");
    assert_eq!((made.id.as_str(), made.name.as_str()), ("5ed8838e21c156000102bcfd", "nightly-move-0190-ab"));
    let sent = outside.requests()[1].json();
    assert_eq!(sent["remainSource"], true);
    assert_eq!(sent["sourceConn"], json!({"storType": "opensds-obj", "bucketName": "b1"}));
    assert_eq!(sent["filter"], json!({}));
    outside.expect("GET", list("/plans"), Reply::json(200, json!({"plans": [plan("p1")], "next": 1})));
    assert_eq!(plans::create(&outside.context(), wanted()).expect("found").id, "p1");
}

#[test]
fn a_plan_that_turns_out_to_exist_is_found() {
    let outside = Outside::new();
    outside.expect("GET", list("/plans"), Reply::json(200, json!({"plans": null})));
    outside.expect("POST", "/plans", Reply::bytes(500, "duplicate name:nightly-move-0190-ab"));
    outside.expect("GET", list("/plans"), Reply::json(200, json!({"plans": [plan("p1")]})));
    assert_eq!(plans::create(&outside.context(), wanted()).expect("found").id, "p1");
}

#[test]
fn what_the_service_says_tells_a_refusal_from_trouble() {
    let check = |status: u16, text: &str, transient: bool| {
        let outside = Outside::new();
        outside.expect("GET", list("/plans"), Reply::json(200, json!({})));
        outside.expect("POST", "/plans", Reply::bytes(status, text));
        let error = plans::create(&outside.context(), wanted()).expect_err("refused");
        assert_eq!(error.is_transient(), transient, "{status} {text}");
        assert!(!error.problem.detail.contains('\n'), "{}", error.problem.detail);
        error.problem.detail
    };
    check(500, "source is the same as destination\n", false);
    check(500, "Invalid connector type.", false);
    check(502, "bad gateway", true);
    check(401, "", false);
    let wrapped =
        r#"{"id":"go.micro.client.transport","code":500,"detail":"unexpected EOF","status":"Internal Server Error"}"#;
    assert!(check(500, wrapped, true).contains("unexpected EOF"));
}

#[test]
fn an_unknown_plan_is_told_although_the_service_only_says_500() {
    let outside = Outside::new();
    let run = || plans::run(&outside.context(), serde_json::from_value(json!({"planId": "p1"})).expect("an input"));
    outside.expect("GET", list("/jobs"), Reply::json(200, json!({})));
    outside.expect("POST", "/plans/p1/run", Reply::bytes(500, "mongo: no documents"));
    outside.expect("GET", list("/plans"), Reply::json(200, json!({"plans": []})));
    let gone = run().expect_err("gone");
    assert!(!gone.is_transient() && gone.problem.status == 404, "{gone}");
    // The same words for a plan that is there are trouble that may pass.
    outside.expect("GET", list("/jobs"), Reply::json(200, json!({})));
    outside.expect("POST", "/plans/p1/run", Reply::bytes(500, "mongo: no reachable servers"));
    outside.expect("GET", list("/plans"), Reply::json(200, json!({"plans": [plan("p1")]})));
    assert!(run().expect_err("trouble").is_transient());
}

#[test]
fn a_job_whose_start_was_lost_is_found_and_not_started_again() {
    let outside = Outside::new();
    let run = || plans::run(&outside.context(), serde_json::from_value(json!({"planId": "p1"})).expect("an input"));
    outside.expect("GET", list("/jobs"), Reply::json(200, json!({"jobs": [{"id": "j0", "planId": "p0"}]})));
    outside.expect("POST", "/plans/p1/run", Reply::timeout());
    assert!(run().expect_err("no answer").is_transient());
    outside.expect("GET", list("/jobs"), Reply::json(200, json!({"jobs": [{"id": "j1", "planId": "p1"}]})));
    assert_eq!(run().expect("found").job_id, "j1");
}

#[test]
fn a_job_s_progress_is_shown_and_what_is_left_out_is_zero() {
    let outside = Outside::new();
    let look = || plans::job(&outside.context(), serde_json::from_value(json!({"jobId": "j1"})).expect("an input"));
    let captured = json!({"job": {"id": "j1", "type": "migration", "planName": "p", "planId": "p1", "status": "pending",
        "createTime": 1_591_247_758, "endTime": -62_135_596_800_i64}});
    outside.expect("GET", "/jobs/j1", Reply::json(200, captured));
    assert_eq!((look().expect("a job").total_count, look_status(&outside)), (0, "pending".to_owned()));
    let running = json!({"job": {"id": "j1", "planId": "p1", "status": "running", "totalCapacity": 103_609,
        "totalCount": 4, "passedCount": 1, "progress": 25}});
    outside.expect("GET", "/jobs/j1", Reply::json(200, running));
    assert_eq!(look().expect("a job").passed_count, 1);
    let shown = outside.progress();
    let objects = &shown.last().expect("progress").measures[0];
    assert_eq!((objects.done, objects.total), (1, Some(4)));
    outside.expect("GET", "/jobs/j1", Reply::bytes(404, "Job Id-j1 does not exist in system"));
    assert_eq!(look().expect_err("gone").problem.status, 404);
}

fn look_status(outside: &Outside) -> String {
    outside.progress().last().and_then(|shown| shown.note.clone()).unwrap_or_default()
}

#[test]
fn a_plan_is_removed_by_its_name_when_its_identifier_was_lost() {
    let outside = Outside::new();
    let delete = |input: Json| plans::delete(&outside.context(), serde_json::from_value(input).expect("an input"));
    let by_name = || json!({"planId": null, "name": "nightly move", "requestKey": "0190-ab"});
    outside.expect("GET", list("/plans"), Reply::json(200, json!({"plans": [plan("p1")]})));
    outside.expect("DELETE", "/plans/p1", Reply::json(200, json!({})));
    assert!(delete(by_name()).expect("deleted").deleted);
    outside.expect("GET", list("/plans"), Reply::json(200, json!({"plans": []})));
    assert!(!delete(by_name()).expect("nothing to do").deleted);
    outside.expect("DELETE", "/plans/p2", Reply::bytes(500, "not there"));
    outside.expect("GET", list("/plans"), Reply::json(200, json!({"plans": []})));
    assert!(!delete(json!({"planId": "p2"})).expect("gone").deleted);
}

#[test]
fn a_backend_is_found_or_registered_with_credentials_of_its_own() {
    let outside = Outside::new();
    let find = |more: Json| {
        let mut input = json!({"name": "b"});
        more.as_object().expect("an object").iter().for_each(|(name, value)| input[name] = value.clone());
        backends::find_or_create(&outside.context(), serde_json::from_value(input).expect("an input"))
    };
    let other = json!({"id": "1", "name": "bb", "type": "aws-s3"});
    outside.expect("GET", list("/backends"), Reply::json(200, json!({"backends": [other]})));
    let missing = find(json!({})).expect_err("none");
    assert!(missing.problem.detail.contains("backendType"), "{missing}");
    outside.secret("backend-access-key", b"AK");
    outside.secret("backend-secret-key", b"SK");
    outside.expect("GET", list("/backends"), Reply::json(200, json!({"next": 1})));
    let made = json!({"id": "2", "name": "b", "type": "ceph-s3", "access": "AK", "security": "SK"});
    outside.expect("POST", "/backends", Reply::json(200, made));
    let made = find(json!({"type": "ceph-s3", "endpoint": "https://ceph.example"})).expect("registered");
    assert!(made.created && !json!(made).to_string().contains("SK"), "{made:?}");
    assert_eq!(outside.requests()[2].json()["security"], "SK");
}

const BUCKETS: &str = "<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner/><Buckets><Bucket>\
    <Name>b2</Name><CreationDate>x</CreationDate><LocationConstraint>east</LocationConstraint></Bucket></Buckets>\
    </ListAllMyBucketsResult>";

#[test]
fn the_destination_lies_on_the_backend_that_was_asked_for() {
    let outside = Outside::new();
    let ensure = |bucket: &str, backend: Json| {
        let input = json!({"bucket": bucket, "backend": backend});
        buckets::ensure(&outside.context(), serde_json::from_value(input).expect("an input"))
    };
    outside.expect("GET", "/", Reply::bytes(200, BUCKETS));
    assert!(!ensure("b2", json!("east")).expect("there").created);
    outside.expect("GET", "/", Reply::bytes(200, BUCKETS));
    let elsewhere = ensure("b2", json!("west")).expect_err("elsewhere");
    assert!(elsewhere.problem.detail.contains("`east`"), "{elsewhere}");
    outside.expect("GET", "/", Reply::bytes(200, BUCKETS));
    assert_eq!(ensure("b3", Json::Null).expect_err("none").problem.status, 404);
    outside.expect("GET", "/", Reply::bytes(200, BUCKETS));
    outside.expect("PUT", "/b3", Reply::bytes(200, ""));
    assert!(ensure("b3", json!("we&st")).expect("made").created);
    assert!(outside.requests().last().expect("a request").text().contains("<LocationConstraint>we&amp;st<"));
    outside.expect("GET", "/", Reply::bytes(200, BUCKETS));
    let failed = "<Error><Code>GetBackendFailed</Code><Message>no backend</Message></Error>";
    outside.expect("PUT", "/b3", Reply::bytes(500, failed));
    assert!(!ensure("b3", json!("nowhere")).expect_err("no such backend").is_transient());
}

#[test]
fn a_bucket_is_removed_only_when_nothing_is_in_it() {
    let outside = Outside::new();
    let input = |bucket: &str| serde_json::from_value(json!({ "bucket": bucket })).expect("an input");
    let remove = |bucket: &str| buckets::remove_empty(&outside.context(), input(bucket));
    let is_there = || outside.expect("GET", "/", Reply::bytes(200, BUCKETS));
    is_there();
    assert!(remove("b3").expect("gone").gone);
    is_there();
    outside.expect("GET", "/b2?list-type=2", Reply::bytes(200, page(&[("a", 1)], "")));
    let kept = remove("b2").expect("kept");
    assert!(!kept.gone && kept.kept.is_some_and(|why| why.contains("`a`")));
    for (status, gone) in [(204, true), (404, true), (409, false)] {
        is_there();
        outside.expect("GET", "/b2?list-type=2", Reply::bytes(200, page(&[], "")));
        outside.expect("DELETE", "/b2", Reply::status(status));
        assert_eq!(remove("b2").expect("told").gone, gone, "{status}");
    }
    is_there();
    outside.expect("GET", "/b2?list-type=2", Reply::bytes(200, page(&[], "")));
    outside.expect("DELETE", "/b2", Reply::bytes(500, "unexpected EOF"));
    assert!(remove("b2").expect_err("trouble").is_transient());
    is_there();
    let found = buckets::look(&outside.context(), input("b2")).expect("looked");
    assert_eq!((found.exists, found.backend.as_deref()), (true, Some("east")));
    is_there();
    assert!(!buckets::look(&outside.context(), input("b3")).expect("looked").exists);
}

fn page(objects: &[(&str, u64)], next: &str) -> String {
    let entry = |(key, size): &(&str, u64)| format!("<Contents><Key>{key}</Key><Size>{size}</Size></Contents>");
    let more = match next {
        "" => String::new(),
        next => format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>"),
    };
    format!("<ListBucketResult>{}{more}</ListBucketResult>", objects.iter().map(entry).collect::<String>())
}

#[test]
fn a_job_that_succeeded_with_nothing_copied_is_found_out() {
    let check = |source: &[(&str, u64)], destination: &[(&str, u64)], expected: (u64, u64, u64, bool)| {
        let outside = Outside::new();
        outside.expect("GET", "/b1?list-type=2&prefix=p", Reply::bytes(200, page(source, "")));
        let (first, rest) = destination.split_at(destination.len().min(1));
        outside.expect("GET", "/b2?list-type=2&prefix=p", Reply::bytes(200, page(first, "t%2F")));
        let more = Target::starting_with("/b2?list-type=2&prefix=p&continuation-token=");
        outside.expect("GET", more, Reply::bytes(200, page(rest, "")));
        let input = json!({"sourceBucket": "b1", "destinationBucket": "b2", "prefix": "p", "objects": 2, "bytes": 7});
        let found = buckets::verify(&outside.context(), serde_json::from_value(input).expect("an input"));
        let found = found.expect("verified");
        assert_eq!((found.objects, found.left, found.missing, found.complete), expected);
    };
    let all = [("pa", 3), ("pb", 4)];
    check(&all, &all, (2, 2, 0, true));
    check(&all, &[], (0, 2, 2, false));
    check(&all, &[("pa", 3)], (1, 2, 1, false));
    check(&all, &[("pa", 3), ("pb", 5)], (2, 2, 1, false));
    check(&[], &all, (2, 0, 0, true));
    check(&[], &[("pa", 3)], (1, 0, 0, false));
    check(&all, &[("p0", 1), ("pa", 3), ("pb", 4), ("pc", 9)], (4, 2, 0, true));
}

#[test]
fn objects_are_counted_over_pages() {
    let outside = Outside::new();
    outside.expect("GET", "/b1?list-type=2", Reply::bytes(200, page(&[("a", 1), ("b", 2)], "t")));
    outside.expect("GET", "/b1?list-type=2&continuation-token=t", Reply::bytes(200, page(&[("c", 4)], "")));
    let input = serde_json::from_value(json!({"bucket": "b1", "prefix": null})).expect("an input");
    let counted = buckets::count(&outside.context(), input).expect("counted");
    assert_eq!((counted.objects, counted.bytes), (3, 7));
}
