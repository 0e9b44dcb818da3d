//! Faulted instances that go on from the task that failed.

use serde_json::json;

use super::*;

fn reopen(bench: &mut Bench) -> Vec<Record> {
    let by = Some("anna".to_owned());
    let mut records = bench.happens(Event::RetryRequested { by: by.clone() });
    assert_eq!(records.remove(0), Record::Reopened { by });
    assert_eq!(bench.happens(Event::RetryRequested { by: None }), [], "it runs");
    records
}

#[test]
fn the_task_that_failed_begins_anew_with_what_was_there() {
    let call = |name: &str| json!({ "call": name, "with": { "n": "${ .n }" } });
    let mut bench = Bench::new(
        json!({ "do": [
        { "a": { "call": "a", "export": { "as": { "kept": "${ .n }" } } } },
        { "outer": { "do": [{ "b": call("b") }, { "c": { "set": { "kept": "${ $context.kept }" } } }] } },
    ] }),
        json!({}),
    );
    bench.gives(json!({ "n": 1 }));
    let first = bench.call();
    bench.fails(409);
    assert_eq!(bench.fault().0, 409);
    bench.restarts();
    assert!(bench.state.can_be_reopened());
    reopen(&mut bench);
    let second = bench.call();
    assert_eq!((&second.arguments, second.attempt), (&json!({ "n": 1 }), 1));
    assert_ne!(first.key, second.key, "somebody asks for the work again");
    bench.gives(json!({ "n": 2 }));
    assert_eq!(bench.output(), json!({ "kept": 1 }));
    assert_eq!(bench.happens(Event::RetryRequested { by: None }), [], "it has completed");
    bench.restarts();
}

#[test]
fn what_ran_beside_it_is_taken_up_as_after_a_restart() {
    let branch = |name: &str, effect: &str| json!({ name: { "call": name, "metadata": { "effect": effect } } });
    let mut bench = Bench::of(json!([
        { "f": { "fork": { "branches": [branch("a", "idempotent"), branch("b", "idempotent")] } } },
    ]));
    let calls: Vec<_> = bench.state.errands().map(|errand| bench.state.call(&bench.program, errand).unwrap()).collect();
    let (activation, attempt) = (calls[0].activation, calls[0].attempt);
    let result = Err(failure(500, Reaction::Permanent));
    bench.happens(Event::ResultArrived { activation, attempt, result });
    reopen(&mut bench);
    let again: Vec<_> = bench.state.errands().map(|errand| bench.state.call(&bench.program, errand).unwrap()).collect();
    assert_eq!(again.len(), 2);
    assert!(again.iter().any(|call| call.key == calls[1].key && call.attempt == 2), "{again:?}");
    for call in again {
        let result = Ok(Success { output: json!(call.attempt), ..Success::default() });
        bench.happens(Event::ResultArrived { activation: call.activation, attempt: call.attempt, result });
    }
    assert_eq!(bench.output(), json!([1, 2]));
}

#[test]
fn limits_do_not_count_the_time_in_between() {
    let mut bench = Bench::new(
        json!({ "timeout": { "after": { "seconds": 60 } }, "do": [
        { "outer": { "timeout": { "after": { "seconds": 30 } }, "do": [{ "a": { "call": "a" } }] } },
    ] }),
        json!({}),
    );
    bench.passes(10);
    bench.fails(500);
    bench.passes(1000);
    reopen(&mut bench);
    bench.passes(19);
    assert_eq!(bench.state.end(), None);
    bench.passes(2);
    assert_eq!(bench.fault(), (408, "timeout".to_owned(), "/do/0/outer".to_owned()));
    reopen(&mut bench);
    bench.gives(json!(1));
    assert_eq!(bench.output(), json!(1), "a task whose time ran out has all of it again");
}

#[test]
fn a_try_that_gave_up_tries_again_from_its_failed_task() {
    let mut bench = Bench::of(json!([{ "t": { "try": [{ "a": { "call": "a" } }], "catch": {
        "retry": { "delay": { "seconds": 1 }, "limit": { "attempt": { "count": 1 } } } } } }]));
    bench.fails(500);
    bench.passes(1);
    bench.fails(500);
    assert_eq!(bench.fault().0, 500);
    reopen(&mut bench);
    bench.gives(json!(7));
    assert_eq!(bench.output(), json!(7));
}

#[test]
fn what_no_task_failed_at_cannot_be_tried_again() {
    let mut bench =
        Bench::new(json!({ "timeout": { "after": { "seconds": 5 } }, "do": [{ "a": { "call": "a" } }] }), json!({}));
    bench.passes(6);
    assert_eq!(bench.fault().0, 408);
    assert!(!bench.state.can_be_reopened(), "the workflow's own time is over");
    assert_eq!(bench.happens(Event::RetryRequested { by: None }), []);
    let mut bench = Bench::of(json!([{ "a": { "call": "a" } }]));
    bench.happens(Event::CancelRequested { by: None });
    assert_eq!(bench.happens(Event::RetryRequested { by: None }), []);
}
