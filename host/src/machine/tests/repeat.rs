//! Attempts that are repeated or whose outcome is unknown.

use serde_json::json;

use super::*;

fn calling(metadata: Json) -> Bench {
    Bench::of(json!([{ "c": { "call": "c", "with": { "size": 5 }, "metadata": metadata } }]))
}

#[test]
fn a_lost_attempt_is_repeated_with_the_same_key_where_that_is_harmless() {
    for effect in ["idempotent", "resumable"] {
        let mut bench = calling(json!({ "effect": effect }));
        let first = bench.call();
        bench.restarts();
        bench.restarts();
        let third = bench.call();
        assert_eq!((third.attempt, &third.key, &third.arguments), (3, &first.key, &first.arguments), "{effect}");
        bench.gives(json!("done"));
        assert_eq!(bench.output(), json!("done"));
    }
}

#[test]
fn the_next_attempt_gets_the_last_checkpoint() {
    let mut bench = calling(json!({ "effect": "resumable" }));
    let activation = bench.call().activation;
    let store = |attempt, value| Event::CheckpointStored { activation, attempt, value: Arc::new(value) };
    for value in [json!(1), json!(2)] {
        assert_eq!(bench.happens(store(1, value)).len(), 1);
    }
    bench.restarts();
    assert_eq!(bench.call().checkpoint, Some(json!(2)));
    assert_eq!(bench.happens(store(1, json!(3))), vec![], "a lost attempt stores nothing");
    bench.restarts();
    assert_eq!(bench.call().checkpoint, Some(json!(2)), "it survives attempts that store none");
}

#[test]
fn a_lost_attempt_at_a_once_action_is_never_blindly_repeated() {
    let mut bench = calling(json!({ "effect": "once" }));
    bench.restarts();
    let error = bench.error();
    assert_eq!((error.status, error.title.as_deref()), (500, Some("outcome unknown")));
    assert_eq!(error.instance.as_deref(), Some("/do/0/c"));
}

#[test]
fn a_probe_decides_about_a_lost_attempt() {
    let probing = || {
        let mut bench = calling(json!({ "effect": "once", "probe": true }));
        let key = bench.call().key;
        bench.restarts();
        assert!(bench.state.errands().all(|errand| errand.probe));
        assert_eq!(bench.call().key, key);
        bench.restarts();
        assert!(bench.state.errands().all(|errand| errand.probe), "a lost probe is asked again");
        bench
    };
    let mut done = probing();
    done.finds(Found::Done(Success { output: json!("found"), ..Success::default() }));
    assert_eq!(done.output(), json!("found"));

    let mut not_done = probing();
    let key = not_done.call().key;
    not_done.finds(Found::NotDone);
    let call = not_done.call();
    assert_eq!((call.attempt, call.key), (2, key));
    assert!(not_done.state.errands().all(|errand| !errand.probe));

    let mut unknown = probing();
    unknown.finds(Found::Unknown("who knows".to_owned()));
    assert_eq!(unknown.error().title.as_deref(), Some("outcome unknown"));
}

#[test]
fn an_unknown_failure_is_probed_before_it_is_an_error() {
    let unknown = || Err(failure(504, Reaction::Unknown));
    let mut bench = calling(json!({ "effect": "once", "probe": true }));
    bench.answers(unknown());
    assert!(bench.state.errands().all(|errand| errand.probe));
    bench.restarts();
    bench.finds(Found::NotDone);
    assert_eq!(bench.error().status, 504, "the call failed, and that without effect");

    let mut bench = calling(json!({ "effect": "once" }));
    bench.answers(unknown());
    assert_eq!(bench.error().status, 504);
}

#[test]
fn an_unknown_outcome_can_be_caught() {
    let mut bench = Bench::of(json!([{ "t": {
        "try": [{ "c": { "call": "c", "metadata": { "effect": "once" } } }],
        "catch": { "errors": { "with": { "title": "outcome unknown" } }, "do": [{ "h": { "set": "asked" } }] },
    } }]));
    bench.restarts();
    assert_eq!(bench.output(), json!("asked"));
}

#[test]
fn what_no_longer_concerns_the_instance_is_passed_over() {
    let mut bench = calling(json!({ "effect": "idempotent" }));
    let activation = bench.call().activation;
    bench.restarts();
    let result = || Ok(Success::default());
    for event in [
        Event::ResultArrived { activation, attempt: 1, result: result() },
        Event::ProbeAnswered { activation, attempt: 2, found: Found::NotDone },
        Event::SecretRevealed { activation, attempt: 1, secret: "s".to_owned() },
        Event::WakeUp,
        Event::Start,
    ] {
        assert_eq!(bench.happens(event.clone()), vec![], "{event:?}");
    }
    assert_eq!(bench.happens(Event::SecretRevealed { activation, attempt: 2, secret: "s".to_owned() }).len(), 1);
}
