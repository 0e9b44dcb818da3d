//! Listening and emitting.

use serde_json::json;

use super::*;

fn event(kind: &str, id: u64, data: Json) -> Json {
    json!({ "specversion": "1.0", "id": id.to_string(), "source": "/test", "type": kind, "data": data })
}

impl Bench {
    fn hears(&mut self, number: u64, kind: &str, data: Json) {
        self.happens(Event::EventArrived { number, event: Arc::new(event(kind, number, data)) });
    }
}

fn listening(to: Json) -> Bench {
    let bench = Bench::of(json!([{ "l": { "listen": { "to": to } } }]));
    assert!(bench.state.listens());
    bench
}

#[test]
fn one_event_that_fits_is_enough_and_the_output_is_an_array() {
    let mut bench = listening(json!({ "one": { "with": { "type": "a" } } }));
    bench.hears(1, "b", json!(1));
    assert!(bench.state.end().is_none());
    bench.hears(2, "a", json!(2));
    assert_eq!(bench.output(), json!([2]));
}

#[test]
fn all_needs_one_event_for_each_filter_in_order_of_arrival() {
    let mut bench = listening(json!({ "all": [{ "with": { "type": "a" } }, { "with": { "type": "b" } }] }));
    bench.hears(1, "b", json!(1));
    bench.hears(2, "b", json!(2));
    bench.restarts();
    bench.hears(3, "a", json!(3));
    assert_eq!(bench.output(), json!([1, 3]));
}

#[test]
fn any_ends_with_the_first_and_goes_on_until_its_condition_holds() {
    let mut bench = listening(json!({ "any": [] }));
    bench.hears(1, "whatever", json!("x"));
    assert_eq!(bench.output(), json!(["x"]));

    let mut bench = listening(json!({ "any": [{ "with": { "type": "a" } }], "until": ".1 == 5" }));
    bench.hears(1, "a", json!(4));
    bench.hears(2, "a", json!(5));
    assert_eq!(bench.output(), json!([4, 5]));
}

#[test]
fn an_event_is_consumed_once() {
    let filter = json!({ "one": { "with": { "type": "a" } } });
    let tasks = json!([{ "l": { "listen": { "to": filter } } }, { "m": { "listen": { "to": filter } } }]);
    let mut bench = Bench::of(tasks);
    bench.hears(7, "a", json!(1));
    bench.hears(7, "a", json!(1));
    bench.restarts();
    bench.hears(7, "a", json!(1));
    assert!(bench.state.end().is_none());
    bench.hears(8, "a", json!(2));
    assert_eq!(bench.output(), json!([2]));
}

#[test]
fn a_filter_is_an_equal_value_or_an_expression_over_it() {
    let mut bench = listening(json!({ "one": { "with": { "type": "a", "data": "${ .ok == true }" } } }));
    bench.hears(1, "a", json!({ "ok": false }));
    bench.hears(2, "a", json!("no object"));
    bench.hears(3, "a", json!({ "ok": true }));
    assert_eq!(bench.output(), json!([{ "ok": true }]));
}

#[test]
fn correlations_expect_what_was_given_or_what_came_first() {
    let correlate = |expect: Json| json!({ "with": { "type": "a" }, "correlate": { "k": { "from": ".data.k", "expect": expect } } });
    let mut bench = listening(json!({ "one": correlate(json!(5)) }));
    bench.hears(1, "a", json!({ "k": 4 }));
    bench.hears(2, "a", json!({ "k": 5 }));
    assert_eq!(bench.output(), json!([{ "k": 5 }]));

    let other = json!({ "with": { "type": "b" }, "correlate": { "k": { "from": ".data.k" } } });
    let mut bench = listening(json!({ "all": [correlate(Json::Null), other] }));
    bench.hears(1, "b", json!({ "k": 1 }));
    bench.hears(2, "a", json!({ "k": 2 }));
    bench.restarts();
    bench.hears(3, "a", json!({ "k": 1 }));
    assert_eq!(bench.output(), json!([{ "k": 1 }, { "k": 1 }]));
}

#[test]
fn events_are_handled_one_by_one() {
    let tasks = json!([
        { "l": {
            "listen": { "to": { "any": [], "until": ".1 == 2" } },
            "foreach": {
                "do": [{ "c": { "call": "c", "with": { "item": "${ $item }", "at": "${ $index }" } } }],
                "export": { "as": "${ .at }" },
            },
        } },
        { "s": { "set": { "data": "${ . }", "context": "${ $context }" } } },
    ]);
    let mut bench = Bench::of(tasks);
    bench.hears(1, "a", json!(1));
    bench.hears(2, "a", json!(2));
    for at in 0..2 {
        let arguments = bench.call().arguments;
        assert_eq!(arguments, json!({ "item": at + 1, "at": at }));
        bench.restarts();
        bench.gives(arguments);
    }
    assert_eq!(bench.output(), json!({ "data": [{ "item": 1, "at": 0 }, { "item": 2, "at": 1 }], "context": 1 }));
}

#[test]
fn a_timeout_ends_listening() {
    let listen = json!({ "listen": { "to": { "any": [] } }, "timeout": { "after": { "seconds": 5 } } });
    let mut bench = Bench::of(json!([{ "l": listen }]));
    bench.passes(5);
    assert_eq!(bench.fault().1, "timeout");
}

#[test]
fn an_emitted_event_has_all_that_a_cloud_event_needs() {
    let emit = json!({ "emit": { "event": { "with": { "type": "done", "data": { "n": "${ .n }" } } } } });
    let bench = Bench::new(json!({ "do": [{ "e": emit }] }), json!({ "n": 1 }));
    let output = bench.output();
    assert_eq!(
        (&output["specversion"], &output["type"], &output["source"], &output["data"], &output["time"]),
        (&json!("1.0"), &json!("done"), &json!("/test/flow/1.0.0"), &json!({ "n": 1 }), &json!("2026-01-01T00:00:00Z"))
    );
    assert_eq!(output["id"].as_str().unwrap().len(), 36);

    let nameless = Bench::of(json!([{ "e": { "emit": { "event": { "with": { "type": "" } } } } }]));
    assert_eq!(nameless.fault().1, "configuration");
}
