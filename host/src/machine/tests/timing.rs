//! Waits, timeouts, retries, catches.

use serde_json::json;

use super::*;

const TIMEOUT: &str = "timeout";

fn seconds(seconds: i64) -> Json {
    json!({ "seconds": seconds })
}

#[test]
fn a_wait_ends_at_its_time_and_passes_its_input_on() {
    let mut bench = Bench::of(json!([{ "a": { "set": 1 } }, { "w": { "wait": seconds(10) } }]));
    assert_eq!(bench.state.wake(&bench.program), Some(bench.now + SignedDuration::from_secs(10)));
    bench.passes(9);
    assert!(bench.state.end().is_none());
    bench.passes(1);
    assert_eq!(bench.output(), json!(1));
}

#[test]
fn a_wait_that_ended_while_the_server_was_down_ends_at_once() {
    let mut bench = Bench::of(json!([{ "w": { "wait": seconds(10) } }]));
    bench.now += SignedDuration::from_secs(100);
    bench.restarts();
    assert_eq!(bench.output(), json!({}));
}

#[test]
fn time_that_ran_out_is_an_error_at_the_task_and_its_attempt_is_dropped() {
    let mut bench = Bench::of(json!([{ "c": { "call": "c", "timeout": { "after": seconds(5) } } }]));
    bench.passes(5);
    assert_eq!(bench.fault(), (408, TIMEOUT.to_owned(), "/do/0/c".to_owned()));
    assert_eq!(bench.state.errands().count(), 0);
}

#[test]
fn a_timeout_is_caught_around_the_task_and_not_by_it() {
    let call = json!({ "c": { "call": "c", "timeout": { "after": seconds(5) } } });
    let mut around = Bench::of(json!([{ "t": { "try": [call], "catch": { "do": [{ "h": { "set": "caught" } }] } } }]));
    around.passes(5);
    assert_eq!(around.output(), json!("caught"));

    let mut itself = Bench::of(json!([
        { "t": { "try": [{ "c": { "call": "c" } }], "catch": { "do": [{ "h": { "set": "caught" } }] },
                 "timeout": { "after": seconds(5) } } },
    ]));
    itself.passes(5);
    assert_eq!(itself.fault(), (408, TIMEOUT.to_owned(), "/do/0/t".to_owned()));
}

#[test]
fn the_timeout_of_a_try_covers_all_its_retries() {
    let mut bench = Bench::of(json!([
        { "t": { "try": [{ "c": { "call": "c" } }], "catch": { "retry": { "delay": seconds(4) } },
                 "timeout": { "after": seconds(10) } } },
    ]));
    for _ in 0..2 {
        bench.fails(500);
        bench.passes(4);
    }
    bench.fails(500);
    bench.passes(2);
    assert_eq!(bench.fault(), (408, TIMEOUT.to_owned(), "/do/0/t".to_owned()));
}

#[test]
fn the_workflows_timeout_ends_it_from_any_depth() {
    let mut bench = Bench::new(
        json!({
            "timeout": { "after": seconds(60) },
            "do": [{ "t": { "try": [{ "w": { "wait": seconds(100) } }], "catch": { "do": [{ "h": { "set": 1 } }] } } }],
        }),
        json!({}),
    );
    bench.passes(60);
    assert_eq!(bench.fault(), (408, TIMEOUT.to_owned(), String::new()));
}

#[test]
fn of_two_deadlines_at_one_time_the_outer_one_counts() {
    let mut bench = Bench::of(json!([{ "o": { "timeout": { "after": seconds(5) }, "do": [
        { "t": { "try": [{ "i": { "timeout": { "after": seconds(5) }, "wait": seconds(9) } }],
                 "catch": { "do": [{ "h": { "set": 1 } }] } } },
    ] } }]));
    bench.passes(7);
    assert_eq!(bench.fault().2, "/do/0/o");
}

/// A try around one call, with a catch.
fn trying(catch: Json) -> Bench {
    Bench::new(json!({ "do": [{ "t": { "try": [{ "c": { "call": "c" } }], "catch": catch } }] }), json!({ "n": 1 }))
}

#[test]
fn an_error_is_caught_when_all_of_the_filter_fits() {
    let old = "https://serverlessworkflow.io/spec/1.0.0/errors/runtime";
    for (catch, caught) in [
        (json!({}), true),
        (json!({ "errors": { "with": { "status": 503 } } }), true),
        (json!({ "errors": { "with": { "status": 500 } } }), false),
        (json!({ "errors": { "with": { "type": old, "title": "no", "instance": "/do/0/t/try/0/c" } } }), true),
        (json!({ "errors": { "with": { "type": old, "title": "yes" } } }), false),
        (json!({ "errors": { "with": { "type": "runtime" } } }), false),
        (json!({ "errors": { "with": { "detail": "x" } } }), false),
        (json!({ "when": "$error.status == 503" }), true),
        (json!({ "when": "$error.status == 500" }), false),
        (json!({ "exceptWhen": "$error.status == 503" }), false),
        (json!({ "as": "oops", "when": "$oops.status == 503", "exceptWhen": "false" }), true),
        (json!({ "when": "fail" }), false),
    ] {
        let mut bench = trying(catch.clone());
        bench.fails(503);
        assert_eq!(matches!(bench.state.end(), Some(End::Completed { .. })), caught, "{catch}");
    }
}

#[test]
fn a_caught_error_without_handler_gives_the_trys_input() {
    let mut bench = trying(json!({}));
    bench.fails(500);
    assert_eq!(bench.output(), json!({ "n": 1 }));
}

#[test]
fn the_handler_sees_the_error_and_its_own_error_goes_outward() {
    let mut bench =
        trying(json!({ "as": "e", "do": [{ "h": { "set": { "was": "${ $e.status }", "in": "${ .n }" } } }] }));
    bench.fails(503);
    assert_eq!(bench.output(), json!({ "was": 503, "in": 1 }));

    let mut bench = trying(json!({ "do": [{ "again": { "raise": { "error": "${ $error }" } } }] }));
    bench.fails(503);
    assert_eq!(bench.fault(), (503, "runtime".to_owned(), "/do/0/t/try/0/c".to_owned()));
}

#[test]
fn the_error_path_has_its_own_then() {
    for (then, output) in [(json!("end"), json!("h")), (json!("other"), json!("other")), (Json::Null, json!("next"))] {
        let mut bench = Bench::of(json!([
            { "t": { "try": [{ "c": { "call": "c" } }],
                     "catch": { "then": then, "do": [{ "h": { "set": "h" } }] } } },
            { "next": { "set": "next", "then": "end" } },
            { "other": { "set": "other" } },
        ]));
        bench.fails(500);
        assert_eq!(bench.output(), output);
    }
}

#[test]
fn exports_made_in_a_failed_try_stay() {
    let mut bench = Bench::of(json!([
        { "t": { "try": [{ "e": { "set": 1, "export": { "as": { "kept": 1 } } } }, { "c": { "call": "c" } }],
                 "catch": { "do": [{ "h": { "set": "${ $context.kept }" } }] } } },
    ]));
    bench.fails(500);
    assert_eq!(bench.output(), json!(1));
}

/// The delays that a policy makes, in milliseconds, until it gives up.
fn delays(retry: Json, reaction: Reaction) -> Vec<i64> {
    let mut bench = trying(json!({ "retry": retry }));
    let mut delays = Vec::new();
    while bench.state.end().is_none() {
        bench.answers(Err(failure(503, reaction)));
        let Some(due) = bench.state.wake(&bench.program) else { continue };
        delays.push(due.duration_since(bench.now).as_millis() as i64);
        bench.now = due;
        bench.happens(Event::WakeUp);
    }
    delays
}

#[test]
fn delays_follow_the_policy() {
    let four = json!({ "attempt": { "count": 4 } });
    let transient = |retry_after_ms| Reaction::Transient { retry_after_ms };
    for (policy, reaction, expected) in [
        (json!({ "delay": seconds(2), "limit": four }), transient(None), vec![2_000; 4]),
        (
            json!({ "delay": seconds(2), "backoff": { "linear": {} }, "limit": four }),
            transient(None),
            vec![2_000, 4_000, 6_000, 8_000],
        ),
        (
            json!({ "delay": seconds(2), "backoff": { "exponential": {} }, "limit": four }),
            Reaction::Permanent,
            vec![2_000, 4_000, 8_000, 16_000],
        ),
        (
            json!({ "delay": seconds(2), "jitter": { "from": seconds(1), "to": seconds(3) }, "limit": four }),
            transient(None),
            vec![4_000; 4],
        ),
        (json!({ "delay": seconds(2), "limit": four }), transient(Some(7_500)), vec![7_500; 4]),
        (json!({ "delay": seconds(2), "limit": four }), transient(Some(500)), vec![2_000; 4]),
        (json!({ "delay": seconds(4), "limit": { "duration": seconds(10) } }), transient(None), vec![4_000; 2]),
        (json!({ "delay": seconds(4), "when": "$error.status == 500" }), transient(None), vec![]),
        (json!({ "delay": seconds(4), "exceptWhen": "$error.status == 503" }), transient(None), vec![]),
    ] {
        assert_eq!(delays(policy.clone(), reaction), expected, "{policy}");
    }
}

#[test]
fn a_retry_without_delay_is_made_at_once_with_a_new_key_and_the_trys_input() {
    let mut bench = Bench::of(json!([
        { "t": { "try": [{ "a": { "set": 5 } }, { "c": { "call": "c", "with": { "x": "${ . }" } } }],
                 "catch": { "retry": { "limit": { "attempt": { "count": 1 } } } } } },
    ]));
    let first = bench.call();
    bench.fails(500);
    let second = bench.call();
    assert_ne!(first.key, second.key);
    assert_eq!(first.arguments, second.arguments);
    bench.fails(500);
    assert_eq!(bench.fault().0, 500, "without a handler an exhausted error passes on");
}

#[test]
fn the_handler_runs_when_retries_are_exhausted() {
    let mut bench =
        trying(json!({ "retry": { "limit": { "attempt": { "count": 2 } } }, "do": [{ "h": { "set": "h" } }] }));
    for _ in 0..3 {
        assert!(bench.state.end().is_none());
        bench.fails(500);
    }
    assert_eq!(bench.output(), json!("h"));
}

#[test]
fn a_try_that_takes_too_long_is_cut_and_tried_again() {
    let mut bench = trying(json!({
        "errors": { "with": { "status": 408 } },
        "retry": { "limit": { "attempt": { "count": 1, "duration": seconds(5) } } },
    }));
    let first = bench.call();
    bench.passes(5);
    let second = bench.call();
    assert_ne!(first.activation, second.activation);
    bench.passes(4);
    assert!(bench.state.end().is_none());
    bench.passes(1);
    assert_eq!(bench.fault(), (408, TIMEOUT.to_owned(), "/do/0/t".to_owned()));
}

#[test]
fn the_limit_of_all_tries_cuts_the_last_one() {
    let mut bench = trying(json!({ "retry": { "limit": { "duration": seconds(5) } } }));
    bench.fails(500);
    bench.passes(5);
    assert_eq!(bench.fault().0, 408);
}

#[test]
fn cancelling_ends_it_at_once_and_what_comes_later_is_passed_over() {
    let mut bench = trying(json!({ "do": [{ "h": { "call": "cleanup" } }] }));
    let call = bench.call();
    bench.happens(Event::CancelRequested { by: Some("anna".to_owned()) });
    assert_eq!(bench.state.end(), Some(&End::Cancelled));
    assert_eq!(bench.state.commands(&bench.program), vec![]);
    let late = Event::ResultArrived { activation: call.activation, attempt: 1, result: Ok(Success::default()) };
    assert_eq!(bench.happens(late), vec![]);
    assert_eq!(bench.happens(Event::CancelRequested { by: None }), vec![]);
}
