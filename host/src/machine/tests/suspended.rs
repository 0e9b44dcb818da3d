//! Suspended instances: what comes is kept, nothing follows from it until they are resumed.

use serde_json::json;

use super::*;

fn suspend(bench: &mut Bench) {
    let by = Some("anna".to_owned());
    assert_eq!(bench.happens(Event::SuspendRequested { by: by.clone() }), [Record::Suspended { by }]);
    assert_eq!(bench.happens(Event::SuspendRequested { by: None }), [], "once is enough");
    assert_eq!(bench.state.wake(&bench.program), None, "no time runs out");
}

fn resume(bench: &mut Bench) -> Vec<Record> {
    let mut records = bench.happens(Event::ResumeRequested { by: None });
    assert_eq!(records.remove(0), Record::Resumed { by: None });
    assert_eq!(bench.happens(Event::ResumeRequested { by: None }), [], "once is enough");
    records
}

#[test]
fn a_result_is_kept_and_the_next_task_waits_for_the_resumption() {
    let mut bench = Bench::of(json!([{ "a": { "call": "a" } }, { "b": { "call": "b" } }]));
    suspend(&mut bench);
    bench.gives(json!({ "n": 1 }));
    assert_eq!(bench.state.errands().count(), 0);
    bench.passes(3600);
    bench.restarts();
    assert!(matches!(bench.history.last().unwrap().record, Record::Result { .. }));
    assert!(!resume(&mut bench).is_empty());
    assert_eq!(bench.call().arguments, json!({}));
    bench.gives(json!({ "n": 2 }));
    assert_eq!(bench.output(), json!({ "n": 2 }));
}

#[test]
fn an_attempt_that_a_restart_interrupts_is_made_again_after_the_resumption() {
    let mut bench = Bench::of(json!([{ "a": { "call": "a" } }]));
    let key = bench.call().key;
    suspend(&mut bench);
    bench.restarts();
    assert_eq!(bench.state.errands().count(), 0);
    resume(&mut bench);
    assert_eq!((bench.call().attempt, bench.call().key), (2, key));
}

#[test]
fn a_time_that_passed_meanwhile_takes_effect_at_the_resumption() {
    let mut bench = Bench::of(json!([{ "a": { "wait": { "seconds": 5 } } }, { "b": { "call": "b" } }]));
    suspend(&mut bench);
    bench.passes(10);
    assert!(matches!(bench.history.last().unwrap().record, Record::Suspended { .. }));
    assert!(matches!(resume(&mut bench)[0], Record::TimerFired { .. }));
    bench.gives(json!(1));
    let mut bench = Bench::of(json!([{ "a": { "call": "a", "timeout": { "after": { "seconds": 5 } } } }]));
    suspend(&mut bench);
    bench.passes(10);
    assert_eq!(bench.state.errands().count(), 1, "what is out may end");
    resume(&mut bench);
    assert_eq!(bench.fault(), (408, "timeout".to_owned(), "/do/0/a".to_owned()));
}

#[test]
fn an_event_that_came_meanwhile_is_not_lost() {
    let listen = json!({ "listen": { "to": { "one": { "with": { "type": "a" } } } } });
    let mut bench = Bench::of(json!([{ "l": listen }]));
    suspend(&mut bench);
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/", "type": "a", "data": 7 });
    bench.happens(Event::EventArrived { number: 1, event: Arc::new(event) });
    assert!(matches!(bench.history.last().unwrap().record, Record::Matched { .. }));
    resume(&mut bench);
    assert_eq!(bench.output(), json!([7]));
}

#[test]
fn cancelling_needs_no_resumption() {
    let mut bench = Bench::of(json!([{ "a": { "call": "a" } }]));
    suspend(&mut bench);
    bench.happens(Event::CancelRequested { by: None });
    assert_eq!(bench.state.end(), Some(&End::Cancelled));
    assert_eq!(bench.happens(Event::ResumeRequested { by: None }), []);
}
