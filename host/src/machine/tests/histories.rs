//! What holds for every history: replay, prefixes, one end, determinism; and the histories that are refused.

use proptest::prelude::*;
use serde_json::json;

use super::super::next::decide;
use super::super::record::{ActivationId, Entered, Outcome, Target};
use super::*;
use crate::definition::graph::NodeId;

/// Everything a definition can hold, in one.
fn everything() -> Json {
    json!({
        "timeout": { "after": { "minutes": 10 } },
        "do": [
            { "plan": { "call": "plan", "export": { "as": { "plan": "${ . }" } } } },
            { "each": { "for": { "in": [1, 2, 3], "each": "x" }, "while": "$index < 2", "do": [
                { "try": { "try": [
                    { "once": { "call": "once", "with": { "x": "${ $x }" }, "timeout": { "after": { "seconds": 20 } },
                                "metadata": { "effect": "once", "probe": true } } },
                    { "copy": { "call": "copy", "metadata": { "effect": "resumable" } } },
                ], "catch": {
                    "exceptWhen": "$error.status == 403",
                    "retry": { "delay": { "seconds": 3 }, "backoff": { "exponential": {} },
                               "jitter": { "from": { "seconds": 0 }, "to": { "seconds": 2 } },
                               "limit": { "attempt": { "count": 2, "duration": { "seconds": 25 } } } },
                    "do": [{ "undo": { "call": "undo", "metadata": { "effect": "once" } } }],
                } } },
                { "pause": { "wait": { "seconds": 5 } } },
            ] } },
            { "route": { "switch": [{ "big": { "when": "$context.plan == 1", "then": "last" } }] } },
            { "skipped": { "if": "false", "set": 1 } },
            { "lanes": { "fork": { "branches": [
                { "left": { "call": "left", "metadata": { "shield": true } } },
                { "right": { "for": { "in": [1, 2, 3] }, "metadata": { "parallel": 2 },
                             "do": [{ "item": { "call": "item", "with": { "x": "${ $item }" } } }] } },
                { "race": { "fork": { "compete": true, "branches": [
                    { "fast": { "wait": { "seconds": 40 } } }, { "slow": { "call": "slow" } },
                ] } } },
                { "heard": {
                    "listen": { "to": { "any": [{ "with": { "type": "a" } }], "until": ".2 == 1" } },
                    "foreach": { "do": [{ "handle": { "call": "handle" } }], "export": { "as": "${ $context }" } },
                } },
                { "both": { "listen": { "to": { "all": [{ "with": { "type": "a" } }, { "with": { "type": "b" },
                    "correlate": { "k": { "from": ".data" } } }] } } } },
                { "told": { "emit": { "event": { "with": { "type": "told" } } } } },
            ] } } },
            { "fail": { "if": "$context.plan == 2", "raise": { "error": { "type": "x", "status": 409 } } } },
            { "last": { "set": { "plan": "${ $context.plan }" } } },
        ],
    })
}

/// What the outside does next; it picks among what can happen.
#[derive(Debug, Clone, Copy)]
enum Move {
    Give(u8),
    Fail(u8),
    Checkpoint(u8),
    Pass(u8),
    Restart,
    Cancel,
    Suspend,
    Resume,
    Retry,
    /// An event of one of two types and some number, so that some come again.
    Hear(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => any::<u8>().prop_map(Move::Give),
        4 => any::<u8>().prop_map(Move::Fail),
        2 => any::<u8>().prop_map(Move::Checkpoint),
        4 => (0..30_u8).prop_map(Move::Pass),
        3 => Just(Move::Restart),
        4 => any::<u8>().prop_map(Move::Hear),
        1 => Just(Move::Cancel),
        1 => Just(Move::Suspend),
        2 => Just(Move::Resume),
        1 => Just(Move::Retry),
    ];
    proptest::collection::vec(one, 0..90)
}

fn event_of(bench: &Bench, step: Move) -> Event {
    if let Move::Hear(n) = step {
        let kind = if n % 2 == 0 { "a" } else { "b" };
        let event = json!({ "specversion": "1.0", "id": n.to_string(), "source": "/x", "type": kind, "data": n % 3 });
        return Event::EventArrived { number: u64::from(n), event: Arc::new(event) };
    }
    let errands: Vec<_> = bench.state.errands().collect();
    let pick = match step {
        Move::Give(n) | Move::Fail(n) | Move::Checkpoint(n) => usize::from(n) / 8,
        _ => 0,
    };
    match step {
        Move::Cancel => return Event::CancelRequested { by: None },
        Move::Suspend => return Event::SuspendRequested { by: None },
        Move::Resume => return Event::ResumeRequested { by: None },
        Move::Retry => return Event::RetryRequested { by: None },
        _ => {}
    }
    let Some(errand) = errands.get(pick % errands.len().max(1)).copied() else { return Event::WakeUp };
    let (activation, attempt) = (errand.activation, errand.attempt);
    let success = |n: u8| Success { output: json!(n % 4), ..Success::default() };
    match step {
        Move::Give(n) if errand.probe => {
            let found = [Found::Done(success(n)), Found::NotDone, Found::Unknown("?".to_owned())];
            Event::ProbeAnswered { activation, attempt, found: found[usize::from(n) % 3].clone() }
        }
        Move::Give(n) => Event::ResultArrived { activation, attempt, result: Ok(success(n)) },
        Move::Fail(n) => {
            let reactions = [
                Reaction::Permanent,
                Reaction::Unknown,
                Reaction::Transient { retry_after_ms: None },
                Reaction::Transient { retry_after_ms: Some(u64::from(n) * 100) },
            ];
            let failure = failure([403, 500, 503][usize::from(n) % 3], reactions[usize::from(n) % 4]);
            Event::ResultArrived { activation, attempt, result: Err(failure) }
        }
        Move::Checkpoint(n) => Event::CheckpointStored { activation, attempt, value: Arc::new(json!(n)) },
        _ => Event::WakeUp,
    }
}

fn play(bench: &mut Bench, step: Move) {
    match step {
        Move::Pass(seconds) => bench.passes(i64::from(seconds)),
        Move::Restart => bench.restarts(),
        _ => {
            let event = event_of(bench, step);
            let moment = Moment { now: bench.now, chance: bench.chance };
            let twice = [(); 2].map(|()| decide(&bench.program, &bench.state, event.clone(), moment, &Plain));
            assert_eq!(twice[0], twice[1], "decisions are a function");
            assert_eq!(bench.happens(event), twice[0], "deciding ahead is deciding");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_course_of_events_makes_a_sound_history(steps in moves(), plan in 0..3_u8) {
        let mut bench = Bench::new(everything(), json!({}));
        bench.gives(json!(plan));
        for step in steps {
            play(&mut bench, step);
            let open = bench.state.end().is_none();
            let woken = bench.state.wake(&bench.program).is_some() || bench.state.listens();
            let woken = woken || bench.state.suspended().is_some();
            prop_assert!(!open || woken, "whatever has not ended will be woken");
        }
        let count = |is: fn(&Record) -> bool| bench.history.iter().filter(|stamped| is(&stamped.record)).count();
        let ends = count(|record| matches!(record, Record::Ended { .. }));
        let reopened = count(|record| matches!(record, Record::Reopened { .. }));
        prop_assert_eq!(ends, reopened + usize::from(bench.state.end().is_some()));
        for (index, stamped) in bench.history.iter().enumerate() {
            prop_assert_eq!(stamped.seq, index as u64 + 1);
        }
        bench.restarts(); // Compares the replayed state with the live one.
    }
}

#[test]
fn once_calls_of_one_activation_never_overlap_and_never_change_their_key() {
    let mut bench = Bench::new(everything(), json!({}));
    bench.gives(json!(1));
    let mut keys = std::collections::BTreeMap::new();
    for stamped in &bench.history {
        if let Record::Intent { activation, key, .. } = &stamped.record {
            assert!(keys.insert(*activation, key.clone()).is_none_or(|before| before == *key));
        }
    }
    let distinct: std::collections::BTreeSet<_> = keys.values().collect();
    assert_eq!(distinct.len(), keys.len());
}

/// A history in which a call is out: created, started, entered, intent.
fn calling() -> Bench {
    Bench::of(json!([{ "c": { "call": "c" } }, { "w": { "wait": { "seconds": 1 } } }]))
}

fn refused(bench: &Bench, record: Record) -> String {
    let stamped = Stamped { seq: bench.state.seq() + 1, at: bench.now, record };
    bench.state.clone().apply(&bench.program, &stamped).expect_err("it is refused").to_string()
}

#[test]
fn a_record_that_does_not_fit_is_refused() {
    let bench = calling();
    let (own, other) = (ActivationId(1), ActivationId(9));
    let ok = || Outcome::Ok(Success::default());
    let intent = |activation, attempt| Record::Intent {
        activation,
        attempt,
        key: "k".to_owned(),
        arguments: Arc::new(json!({})),
    };
    let entered = |activation, node| {
        Record::Entered(Entered {
            limits: None,
            activation: ActivationId(activation),
            parent: None,
            lane: None,
            node: NodeId(node),
            input: None,
            deadline: None,
        })
    };
    let error = || failure(500, Reaction::Permanent).error();
    for (record, why) in [
        (Record::Created(Box::new(created(&bench.program, json!({})))), "created before"),
        (Record::Started { input: None, deadline: None }, "started before"),
        (entered(2, 1), "not on its way"),
        (entered(3, 0), "number does not follow"),
        (Record::Skipped { node: NodeId(1), parent: None, lane: None }, "not on its way"),
        (intent(own, 1), "is out or has ended"),
        (intent(other, 1), "not live"),
        (Record::ProbeIntent { activation: own, attempt: 2, failure: None }, "no such attempt"),
        (Record::Result { activation: own, attempt: 2, outcome: ok() }, "no such attempt"),
        (Record::Result { activation: other, attempt: 1, outcome: ok() }, "not live"),
        (Record::Checkpoint { activation: own, attempt: 2, value: Arc::new(json!(1)) }, "no such attempt"),
        (Record::SecretRevealed { activation: own, attempt: 2, secret: "s".to_owned() }, "no such attempt"),
        (Record::TimerSet { activation: own, due: bench.now }, "only a `wait`"),
        (Record::TimerFired { activation: own }, "does not wait"),
        (Record::Collected { activation: own, items: Arc::new(vec![]) }, "only a loop"),
        (Record::Iterated { activation: own, index: 0 }, "only a loop"),
        (Record::Left { activation: own, output: None, context: None, to: Target::Exit }, "has not ended"),
        (Record::Failed { activation: other, error: error() }, "not live"),
        (Record::Retried { activation: own, retry: 1, error: error(), due: None }, "only a `try`"),
        (Record::Caught { activation: own, error: error() }, "only a `try`"),
        (Record::Ended { end: End::Completed { output: Arc::new(json!(1)) } }, "has not ended well"),
        (Record::Ended { end: End::Cancelled }, "nobody asked"),
    ] {
        let told = refused(&bench, record.clone());
        assert!(told.contains(why), "{record:?}: {told}");
    }
}

#[test]
fn a_repeated_attempt_must_have_the_same_key_and_the_next_number() {
    let mut bench = calling();
    let key = bench.call().key;
    let activation = bench.call().activation;
    let interrupted = Record::Result { activation, attempt: 1, outcome: Outcome::Interrupted };
    let stamped = Stamped { seq: bench.state.seq() + 1, at: bench.now, record: interrupted };
    bench.state.apply(&bench.program, &stamped).unwrap();
    let again = |attempt, key: &str| Record::Intent {
        activation,
        attempt,
        key: key.to_owned(),
        arguments: Arc::new(json!({})),
    };
    assert!(refused(&bench, again(2, "other")).contains("another idempotency key"));
    assert!(refused(&bench, again(3, &key)).contains("number does not follow"));
}

#[test]
fn a_history_begins_once_has_no_gaps_and_ends_once() {
    let mut bench = calling();
    let gap = Stamped { seq: bench.state.seq() + 2, at: bench.now, record: Record::CancelAsked { by: None } };
    assert!(bench.state.clone().apply(&bench.program, &gap).is_err());

    let fresh = State::new(bench.state.id());
    let first = Stamped { seq: 1, at: bench.now, record: Record::CancelAsked { by: None } };
    assert!(fresh.clone().apply(&bench.program, &first).is_err());

    bench.happens(Event::CancelRequested { by: None });
    assert!(refused(&bench, Record::Ended { end: End::Cancelled }).contains("has ended"));
}
