//! Bodies side by side: branches, competitors, parallel iterations; and shields.

use serde_json::json;

use super::*;
use crate::machine::state::Errand;

fn call(name: &str) -> Json {
    json!({ name: { "call": name, "with": { "name": name } } })
}

fn fork(compete: bool, names: &[&str]) -> Json {
    let branches: Vec<Json> = names.iter().map(|name| call(name)).collect();
    json!({ "f": { "fork": { "compete": compete, "branches": branches } } })
}

impl Bench {
    fn errand(&self, name: &str) -> Errand {
        let named = |errand: &Errand| {
            let call = self.state.call(&self.program, *errand).unwrap();
            self.program.node(call.node).name.as_str() == name
        };
        self.state.errands().find(named).unwrap_or_else(|| panic!("no call of {name} is out"))
    }

    fn ends(&mut self, name: &str, result: Result<Json, u16>) {
        let Errand { activation, attempt, .. } = self.errand(name);
        let result = match result {
            Ok(output) => Ok(Success { output, ..Success::default() }),
            Err(status) => Err(failure(status, Reaction::Permanent)),
        };
        self.happens(Event::ResultArrived { activation, attempt, result });
        self.restarts_quietly();
    }

    /// The fold of the stored records is the live state, at each moment.
    fn restarts_quietly(&self) {
        let mut state = State::new(self.state.id());
        for record in &self.history {
            let text = serde_json::to_string(record).unwrap();
            state.apply(&self.program, &serde_json::from_str(&text).unwrap()).unwrap();
        }
        assert_eq!(state, self.state);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}

#[test]
fn branches_give_their_outputs_in_declared_order_whatever_ends_first() {
    for order in [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]] {
        let mut bench = Bench::of(json!([fork(false, &["a", "b", "c"])]));
        assert_eq!(bench.state.errands().count(), 3);
        order.iter().for_each(|name| bench.ends(name, Ok(json!(name))));
        assert_eq!(bench.output(), json!(["a", "b", "c"]));
    }
}

#[test]
fn a_branch_that_fails_takes_the_others_along() {
    let mut bench = Bench::of(json!([fork(false, &["a", "b"])]));
    bench.ends("b", Err(409));
    assert_eq!(bench.state.errands().count(), 0);
    assert_eq!(bench.fault().0, 409);
}

#[test]
fn the_first_competitor_to_succeed_wins_and_the_last_error_counts_when_none_does() {
    let mut bench = Bench::of(json!([fork(true, &["a", "b", "c"])]));
    bench.ends("a", Err(500));
    bench.ends("c", Ok(json!("c")));
    assert_eq!(bench.state.errands().count(), 0);
    assert_eq!(bench.output(), json!("c"));

    let mut bench = Bench::of(json!([fork(true, &["a", "b"])]));
    bench.ends("b", Err(500));
    bench.ends("a", Err(418));
    assert_eq!(bench.fault().0, 418);
}

#[test]
fn exports_of_branches_meet_in_the_order_of_their_records() {
    let branch =
        |name: &str| json!({ name: { "call": name, "export": { "as": { "was": "${ $context }", "now": "${ . }" } } } });
    let tasks = json!([
        { "f": { "fork": { "branches": [branch("a"), branch("b")] } } },
        { "s": { "set": "${ $context }" } },
    ]);
    let mut bench = Bench::of(tasks);
    bench.ends("b", Ok(json!(2)));
    bench.ends("a", Ok(json!(1)));
    assert_eq!(bench.output(), json!({ "now": 1, "was": { "now": 2, "was": {} } }));
}

#[test]
fn end_in_a_branch_ends_the_workflow() {
    let tasks = json!([
        { "f": { "fork": { "branches": [call("a"), { "b": { "set": { "over": true }, "then": "end" } }] } } },
        { "never": { "set": 1 } },
    ]);
    assert_eq!(Bench::of(tasks).output(), json!({ "over": true }));
}

#[test]
fn parallel_iterations_keep_to_their_width_and_order() {
    let tasks = json!([{ "l": {
        "for": { "in": [10, 20, 30] }, "metadata": { "parallel": 2 },
        "do": [{ "c": { "call": "c", "with": { "item": "${ $item }", "at": "${ $index }" } } }],
    } }]);
    let mut bench = Bench::of(tasks);
    let mut seen = 0;
    while let Some(errand) = { bench.state.errands().last() } {
        assert!(bench.state.errands().count() <= 2);
        let arguments = bench.state.call(&bench.program, errand).unwrap().arguments;
        let Errand { activation, attempt, .. } = errand;
        let result = Ok(Success { output: arguments, ..Success::default() });
        bench.happens(Event::ResultArrived { activation, attempt, result });
        bench.restarts_quietly();
        seen += 1;
    }
    assert_eq!(seen, 3);
    let expected = json!([{ "item": 10, "at": 0 }, { "item": 20, "at": 1 }, { "item": 30, "at": 2 }]);
    assert_eq!(bench.output(), expected);

    let empty = json!([{ "l": { "for": { "in": [] }, "metadata": { "parallel": 2 }, "do": [call("c")] } }]);
    assert_eq!(Bench::of(empty).output(), json!([]));
}

#[test]
fn a_failed_iteration_fails_the_parallel_loop_and_can_be_retried_as_a_whole() {
    let tasks = json!([{ "t": {
        "try": [{ "l": { "for": { "in": [1, 2] }, "metadata": { "parallel": 2 }, "do": [call("c")] } }],
        "catch": { "retry": { "limit": { "attempt": { "count": 1 } } } },
    } }]);
    let mut bench = Bench::of(tasks);
    bench.ends("c", Err(503));
    assert_eq!(bench.state.errands().count(), 2);
    bench.ends("c", Ok(json!(1)));
    bench.ends("c", Ok(json!(2)));
    assert_eq!(bench.output(), json!([1, 2]));
}

#[test]
fn a_shielded_task_is_not_cut_by_the_limits_around_it() {
    let shielded = json!({ "c": { "call": "c", "metadata": { "shield": true } } });
    let tasks = json!([{ "d": { "timeout": { "after": { "seconds": 5 } }, "do": [shielded, call("next")] } }]);
    let mut bench = Bench::of(tasks);
    bench.passes(60);
    bench.ends("c", Ok(json!(1)));
    assert_eq!(bench.fault().1, "timeout");
}
