//! Each case: what the hub answers, and what is counted.

use orchestrator_sdk::Json;
use orchestrator_sdk::json;
use orchestrator_sdk::testing::{Outside, Reply, Target};

use super::*;

fn issue(id: u64, category: &str, effort: u64, incidents: &[u64]) -> Json {
    let incidents: Vec<_> = incidents.iter().map(|id| json!({"id": id, "file": "A.java", "line": 1})).collect();
    json!({"id": id, "category": category, "name": "n", "rule": "r", "effort": effort, "incidents": incidents})
}

fn page(offset: usize) -> String {
    format!("/applications/7/analysis/issues?limit=50&offset={offset}")
}

fn count(outside: &Outside) -> Counts {
    count_issues(&outside.context(), CountIssues { application_id: 7 }).unwrap()
}

/// The original gave the identifier of the last incident of the last issue, 42 here, as both counts.
#[test]
fn known_bug_a_count_is_a_count_and_not_the_id_of_an_incident() {
    let outside = Outside::new();
    let found =
        json!([issue(1, "mandatory", 3, &[40, 41, 42]), issue(2, "optional", 1, &[7]), issue(3, "optional", 5, &[])]);
    outside.expect("GET", page(0), Reply::json(200, found));
    let counts = count(&outside);
    assert_eq!(counts.mandatory, Tally { issues: 1, incidents: 3, effort: 9 });
    assert_eq!(counts.optional, Tally { issues: 2, incidents: 1, effort: 6 });
    assert_eq!(counts.total, Tally { issues: 3, incidents: 4, effort: 15 });
    assert!(counts.counted);
}

#[test]
fn pages_are_read_to_the_end() {
    let outside = Outside::new();
    let many: Vec<_> = (0..50).map(|id| issue(id, "potential", 1, &[id])).collect();
    outside.expect("GET", page(0), Reply::json(200, json!(many)));
    outside.expect("GET", page(50), Reply::json(200, json!([issue(50, "Mandatory ", 1, &[1])])));
    let counts = count(&outside);
    assert_eq!((counts.potential.issues, counts.mandatory.issues, counts.total.issues), (50, 1, 51));
}

#[test]
fn a_hub_without_pages_is_not_asked_for_ever() {
    let same: Vec<_> = (0..50).map(|id| issue(id, "optional", 1, &[id])).collect();
    let outside = Outside::new();
    outside.expect("GET", page(0), Reply::json(200, json!(same)));
    outside.expect("GET", page(50), Reply::json(200, json!(same)));
    assert_eq!(count(&outside).total.issues, 50);

    let all: Vec<_> = (0..70).map(|id| issue(id, "optional", 1, &[id])).collect();
    let outside = Outside::new();
    outside.expect("GET", page(0), Reply::json(200, json!(all)));
    assert_eq!(count(&outside).total.issues, 70);
}

#[test]
fn an_older_hub_gives_one_document_and_the_newest_calls_it_insights() {
    for member in ["issues", "insights"] {
        let outside = Outside::new();
        outside.expect("GET", page(0), Reply::status(404));
        outside.expect("GET", Target::starting_with("/applications/7/analysis/insights?"), Reply::status(404));
        let document = json!({"id": 1, "effort": 3, member: [issue(1, "mandatory", 3, &[42])], "dependencies": []});
        outside.expect("GET", "/applications/7/analysis", Reply::bytes(200, document.to_string()));
        assert_eq!(count(&outside).mandatory, Tally { issues: 1, incidents: 1, effort: 3 });
    }
}

/// The original failed in jq where the document had no issues.
#[test]
fn known_bug_a_document_without_issues_counts_nothing() {
    for document in [json!({"id": 1}), json!({"id": 1, "issues": null}), json!({"issues": []})] {
        let outside = Outside::new();
        outside.expect("GET", page(0), Reply::status(404));
        outside.expect("GET", Target::starting_with("/applications/7/analysis/insights?"), Reply::status(404));
        outside.expect("GET", "/applications/7/analysis", Reply::json(200, document));
        let counts = count(&outside);
        assert_eq!((counts.counted, counts.total), (true, Tally::default()));
    }
}

#[test]
fn mta_6_2_keeps_no_issues_and_nothing_is_counted() {
    let outside = Outside::new();
    outside.expect("GET", page(0), Reply::status(404));
    outside.expect("GET", Target::starting_with("/applications/7/analysis/insights?"), Reply::status(404));
    outside.expect("GET", "/applications/7/analysis", Reply::status(404));
    assert_eq!(count(&outside), Counts::default());
}

#[test]
fn issues_that_are_too_much_at_once_are_read_one_by_one() {
    use orchestrator_sdk::http::SendErrorKind;
    let outside = Outside::new();
    outside.expect("GET", page(0), Reply::failure(SendErrorKind::TooLarge(8 << 20)));
    let one = |offset: usize| format!("/applications/7/analysis/issues?limit=1&offset={offset}");
    outside.expect("GET", one(0), Reply::json(200, json!([{"id": 1, "category": null, "incidents": 2, "effort": 4}])));
    outside.expect("GET", one(1), Reply::json(200, json!([])));
    let counts = count(&outside);
    assert_eq!(counts.categories["information"], Tally { issues: 1, incidents: 2, effort: 8 });
}
