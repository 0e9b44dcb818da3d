//! Data flow and control flow without time.

use serde_json::json;

use super::*;

/// Runs a definition whose calls all give back what they were passed.
fn echo(definition: Json, input: Json) -> Bench {
    let mut bench = Bench::new(definition, input);
    while bench.state.errands().next().is_some() {
        let arguments = bench.call().arguments;
        bench.gives(arguments);
    }
    bench
}

fn check(definition: Json, input: Json, output: Json) {
    assert_eq!(echo(definition.clone(), input).output(), output, "{definition}");
}

fn check_tasks(tasks: Json, output: Json) {
    check(json!({ "do": tasks }), json!({ "n": 1 }), output);
}

#[test]
fn data_goes_through_the_frame_in_the_order_of_the_dsl() {
    check(
        json!({
            "input": { "from": ".order" },
            "do": [
                { "a": {
                    "input": { "from": { "size": "${ .size }", "raw": "${ $task.input.size }" } },
                    "call": "echo", "with": { "got": "${ . }", "in": "${ $input.size }" },
                    "output": { "as": { "out": "${ .got.raw }", "was": "${ $input.size }" } },
                    "export": { "as": { "kept": "${ .out }", "same": "${ $output.was }" } },
                } },
                { "b": { "set": { "data": "${ . }", "context": "${ $context }" } } },
            ],
            "output": { "as": { "all": "${ . }", "kept": "${ $context.kept }", "raw": "${ $workflow.input.order.size }" } },
        }),
        json!({ "order": { "size": 5 } }),
        json!({
            "all": { "data": { "out": 5, "was": 5 }, "context": { "kept": 5, "same": 5 } },
            "kept": 5, "raw": 5,
        }),
    );
}

#[test]
fn set_replaces_and_a_skipped_task_passes_its_raw_input_on() {
    check_tasks(json!([{ "a": { "set": { "x": 1 } } }]), json!({ "x": 1 }));
    check_tasks(
        json!([
            { "a": { "if": "false", "input": { "from": "fail" }, "set": 1, "export": { "as": "fail" }, "then": "end" } },
            { "b": { "set": { "seen": "${ . }" } } },
        ]),
        json!({ "seen": { "n": 1 } }),
    );
}

#[test]
fn control_goes_where_then_says() {
    let flow = |then: &str| {
        json!([
            { "a": { "do": [
                { "b": { "set": 1, "then": then } },
                { "c": { "set": 2 } },
                { "d": { "set": "${ . + 10 }" } },
            ] } },
            { "e": { "set": "${ . + 100 }" } },
        ])
    };
    for (then, output) in [("continue", 112), ("exit", 101), ("end", 1), ("d", 111)] {
        check_tasks(flow(then), json!(output));
    }
}

#[test]
fn a_backward_jump_loops_and_each_round_is_a_call_of_its_own() {
    let mut bench = Bench::of(json!([
        { "ask": { "call": "ask" } },
        { "decide": { "switch": [{ "no": { "when": ".ready == false", "then": "ask" } }] } },
    ]));
    let first = bench.call();
    bench.gives(json!({ "ready": false }));
    let second = bench.call();
    assert_ne!(first.key, second.key);
    bench.gives(json!({ "ready": true }));
    assert_eq!(bench.output(), json!({ "ready": true }));
}

#[test]
fn a_switch_takes_the_first_case_that_holds_else_the_default_else_goes_on() {
    let flow = |cases: Json| {
        json!([
            { "s": { "switch": cases } },
            { "next": { "set": "next", "then": "end" } },
            { "a": { "set": "a", "then": "end" } },
            { "b": { "set": "b", "then": "end" } },
        ])
    };
    let (yes, also, no) = (
        json!({ "x": { "when": ".n == 1", "then": "a" } }),
        json!({ "y": { "when": "true", "then": "b" } }),
        json!({ "z": { "when": "null", "then": "a" } }),
    );
    let default = json!({ "d": { "then": "b" } });
    for (cases, output) in [
        (json!([yes, also]), "a"),
        (json!([also, yes]), "b"),
        (json!([default, yes]), "a"),
        (json!([default, no]), "b"),
        (json!([no]), "next"),
    ] {
        check_tasks(flow(cases), json!(output));
    }
}

#[test]
fn a_loop_chains_its_iterations() {
    check_tasks(
        json!([{ "l": {
            "for": { "in": ["a", "b"], "each": "x", "at": "i" }, "input": { "from": [] },
            "do": [{ "s": {
                "call": "echo", "with": { "list": "${ . + $x + $i }" }, "output": { "as": ".list" },
            } }],
        } }]),
        json!(["a", 0, "b", 1]),
    );
    check_tasks(json!([{ "l": { "for": { "in": [] }, "do": [{ "s": { "set": 1 } }] } }]), json!({ "n": 1 }));
}

#[test]
fn while_is_tested_before_each_iteration_with_the_variables_bound() {
    check_tasks(
        json!([
            { "start": { "set": [] } },
            { "l": {
                "for": { "in": [5, 6, 7] }, "while": "$index < 2",
                "do": [{ "s": { "set": "${ . + $item }" } }],
            } },
        ]),
        json!([5, 6]),
    );
}

#[test]
fn exit_in_a_loop_ends_its_iteration_and_end_the_workflow() {
    let flow = |then: &str| {
        json!([
            { "start": { "set": [] } },
            { "l": { "for": { "in": [1, 2] }, "do": [
                { "s": { "set": "${ . + $item }", "then": then } },
                { "never": { "set": "never" } },
            ] } },
            { "last": { "set": "${ . + 3 }" } },
        ])
    };
    check_tasks(flow("exit"), json!([1, 2, 3]));
    check_tasks(flow("end"), json!([1]));
}

#[test]
fn loop_variables_reach_nested_tasks_and_no_further() {
    check_tasks(
        json!([{ "l": { "for": { "in": [1], "each": "outer" }, "do": [
            { "m": { "for": { "in": [2], "each": "inner" }, "do": [
                { "d": { "do": [{ "s": { "set": ["${ $outer }", "${ $inner }", "${ $index }"] } }] } },
            ] } },
        ] } }]),
        json!([1, 2, 0]),
    );
    let after = json!([
        { "l": { "for": { "in": [1] }, "do": [{ "s": { "set": 1 } }], "output": { "as": "$item" } } },
    ]);
    assert_eq!(Bench::of(after).fault(), (400, "expression".to_owned(), "/do/0/l".to_owned()));
}

#[test]
fn what_goes_wrong_is_an_error_at_the_task() {
    let text = json!({ "type": "string" });
    for (task, kind) in [
        (json!({ "if": "fail", "set": 1 }), "expression"),
        (json!({ "input": { "from": "fail" }, "set": 1 }), "expression"),
        (json!({ "set": "${ fail }" }), "expression"),
        (json!({ "set": "${ $nobody }" }), "expression"),
        (json!({ "set": 1, "output": { "as": "fail" } }), "expression"),
        (json!({ "set": 1, "export": { "as": "fail" } }), "expression"),
        (json!({ "for": { "in": "." }, "do": [{ "s": { "set": 1 } }] }), "expression"),
        (json!({ "wait": "${ 5 }" }), "expression"),
        (json!({ "timeout": { "after": "${ \"P1M\" }" }, "set": 1 }), "expression"),
        (json!({ "input": { "schema": text }, "set": 1 }), "validation"),
        (json!({ "set": 1, "output": { "schema": text } }), "validation"),
        (json!({ "set": 1, "export": { "as": ".", "schema": text } }), "validation"),
        (json!({ "call": "x", "metadata": { "inputSchema": text } }), "validation"),
        (json!({ "raise": { "error": { "no": "error" } } }), "configuration"),
    ] {
        let bench = Bench::of(json!([{ "t": task }]));
        assert_eq!(bench.fault(), (400, kind.to_owned(), "/do/0/t".to_owned()), "{task}");
    }
}

#[test]
fn the_actions_output_is_held_to_its_schema() {
    let mut bench =
        Bench::of(json!([{ "t": { "call": "x", "metadata": { "outputSchema": { "required": ["id"] } } } }]));
    bench.gives(json!({}));
    assert_eq!(bench.fault(), (400, "validation".to_owned(), "/do/0/t".to_owned()));
    assert!(bench.error().detail.unwrap().contains("id"));
}

#[test]
fn the_workflows_own_frame_faults_the_instance() {
    let tasks = json!([{ "t": { "set": 1 } }]);
    for (frame, part) in [
        (json!({ "input": { "schema": { "type": "string" } } }), "validation"),
        (json!({ "input": { "from": "fail" } }), "expression"),
        (json!({ "output": { "as": "fail" } }), "expression"),
        (json!({ "output": { "schema": { "type": "string" } } }), "validation"),
    ] {
        let mut definition = frame.clone();
        definition["do"] = tasks.clone();
        let bench = Bench::new(definition, json!({}));
        assert_eq!(bench.fault(), (400, part.to_owned(), String::new()), "{frame}");
    }
}

#[test]
fn a_raised_error_ends_the_instance_with_its_place() {
    let bench = Bench::of(json!([{ "d": { "do": [
        { "r": { "raise": { "error": { "type": "https://x/y", "status": 502, "title": "T", "detail": "${ \"d\" }" } } } },
    ] } }]));
    let error = bench.error();
    assert_eq!((error.status, error.detail.as_deref()), (502, Some("d")));
    assert_eq!(error.instance.as_deref(), Some("/do/0/d/do/0/r"));
}

#[test]
fn a_result_and_the_next_intent_are_one_append() {
    let mut bench = Bench::of(json!([{ "a": { "call": "a" } }, { "b": { "call": "b" } }]));
    let call = bench.call();
    let records =
        bench.happens(Event::ResultArrived { activation: call.activation, attempt: 1, result: Ok(Success::default()) });
    assert!(matches!(records.first(), Some(Record::Result { .. })), "{records:?}");
    assert!(matches!(records.last(), Some(Record::Intent { .. })), "{records:?}");
}

#[test]
fn a_loop_without_a_wait_lets_others_have_their_turn() {
    let mut bench = Bench::of(json!([{ "a": { "set": 1, "then": "a" } }]));
    assert!(bench.state.is_busy());
    let before = bench.history.len();
    bench.happens(Event::WakeUp);
    assert!(bench.history.len() - before >= super::super::next::RECORDS_AT_ONCE_MAX);
    assert!(bench.state.wake(&bench.program).is_some_and(|due| due <= bench.now));
}

#[test]
fn what_a_call_left_outside_is_kept() {
    let mut bench = Bench::of(json!([{ "a": { "call": "a" } }, { "b": { "call": "b" } }]));
    let resource = OutsideResource { kind: "volume".to_owned(), id: "v1".to_owned(), change: ResourceChange::Created };
    bench.answers(Ok(Success { output: json!(1), receipt: Some(json!("r")), resources: vec![resource] }));
    bench.gives(json!(2));
    assert_eq!(bench.state.ledger().len(), 1);
    assert_eq!(bench.state.ledger()[0].receipt, Some(json!("r")));
}
