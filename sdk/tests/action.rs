//! An action as the host calls it: by name and phase, with JSON text in both directions.

use std::time::Duration;

use orchestrator_sdk::action::{Invocation, Phase, Reply, Success};
use orchestrator_sdk::progress::CheckpointError;
use orchestrator_sdk::testing::{Call, Outside};
use orchestrator_sdk::{Change, Context, Error, Finding, Reaction, Resource, export_actions, json};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Input {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Made {
    id: String,
}

fn make(ctx: &Context, input: Input) -> Result<Made, Error> {
    let id = format!("{}-{}", input.name, ctx.attempt());
    ctx.created("thing", &id);
    ctx.receipt(&json!({"id": id, "key": ctx.idempotency_key(), "before": ctx.checkpoint::<u64>()?}))?;
    Ok(Made { id })
}

fn was_made(ctx: &Context, input: Input) -> Result<Finding<Made>, Error> {
    match input.name.as_str() {
        "there" => Ok(Finding::Done(make(ctx, input)?)),
        "hidden" => Ok(Finding::Unknown),
        _ => Ok(Finding::NotDone),
    }
}

fn unmake(ctx: &Context, made: Made) -> Result<(), Error> {
    ctx.deleted("thing", &made.id);
    Ok(())
}

mod elsewhere {
    pub fn fail(_: &orchestrator_sdk::Context, _: ()) -> Result<(), orchestrator_sdk::Error> {
        Err(orchestrator_sdk::Error::transient("busy").context("fail").cure("come back later"))
    }
}

export_actions! {
    "make" => { run: make, probe: was_made, undo: unmake },
    "make-only" => { run: make },
    "fail" => elsewhere::fail,
}

fn call(action: &str, phase: Phase) -> Result<Reply, Error> {
    serve_action(Invocation {
        action: action.to_owned(),
        phase,
        instance: "instance-1".to_owned(),
        task: "/do/0/make".to_owned(),
        idempotency_key: "key-1".to_owned(),
        attempt: 2,
        timeout: Duration::from_secs(1),
        checkpoint: Some("7".to_owned()),
    })
}

fn input(name: &str) -> String {
    json!({"name": name}).to_string()
}

fn made(name: &str) -> Success {
    Success {
        output: format!(r#"{{"id":"{name}-2"}}"#),
        receipt: Some(json!({"id": format!("{name}-2"), "key": "key-1", "before": 7}).to_string()),
        resources: vec![Resource { kind: "thing".into(), id: format!("{name}-2"), change: Change::Created }],
    }
}

#[test]
fn each_phase_reaches_its_function_and_brings_back_what_it_left() {
    assert_eq!(call("make", Phase::Run(input("a"))), Ok(Reply::Succeeded(made("a"))));
    assert_eq!(call("make-only", Phase::Run(input("a"))), Ok(Reply::Succeeded(made("a"))));
    assert_eq!(call("make", Phase::Probe(input("there"))), Ok(Reply::Probed(Finding::Done(made("there")))));
    assert_eq!(call("make", Phase::Probe(input("hidden"))), Ok(Reply::Probed(Finding::Unknown)));
    assert_eq!(call("make", Phase::Probe(input("away"))), Ok(Reply::Probed(Finding::NotDone)));
    assert_eq!(call("make", Phase::Undo(r#"{"id":"a-2"}"#.into())), Ok(Reply::Undone));
}

#[test]
fn a_phase_that_is_not_served_is_told_apart_from_an_action_that_is_not_there() {
    assert_eq!(call("make-only", Phase::Probe(input("a"))), Ok(Reply::Unsupported));
    assert_eq!(call("fail", Phase::Undo("null".into())), Ok(Reply::Unsupported));
    let error = call("mak", Phase::Run(input("a"))).unwrap_err();
    assert_eq!(error.problem.detail, "the component has no action `mak`; it has make, make-only, fail");
}

#[test]
fn an_input_that_does_not_fit_is_refused_with_its_place() {
    for (phase, words) in [
        (Phase::Run("{}".into()), "the input does not fit the action: missing field `name` at line 1 column 2"),
        (Phase::Probe("{".into()), "the input does not fit the action: EOF"),
        (Phase::Undo("{}".into()), "the receipt does not fit the action: missing field `id`"),
    ] {
        let error = call("make", phase).unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 400));
        assert!(error.problem.detail.starts_with(words), "{error}");
    }
}

#[test]
fn an_error_says_what_was_done_and_what_to_do() {
    let error = call("fail", Phase::Run("null".into())).unwrap_err();
    assert!(error.is_transient());
    assert_eq!(error.problem.detail, "fail: busy; come back later");
}

#[test]
fn a_checkpoint_goes_to_the_host_and_its_refusal_becomes_an_error() {
    let outside = Outside::new();
    let ctx = outside.context();
    assert_eq!(ctx.checkpoint::<u64>(), Ok(None));
    ctx.save_checkpoint(&json!({"done": 3})).unwrap();
    assert_eq!(outside.checkpoints(), [json!({"done": 3})]);
    outside.refuse_checkpoints(CheckpointError::Unavailable("disk full".into()));
    assert!(ctx.save_checkpoint(&1).unwrap_err().is_transient());
    outside.refuse_checkpoints(CheckpointError::Invalid("too large".into()));
    assert_eq!(ctx.save_checkpoint(&1).unwrap_err().reaction, Reaction::Permanent);
}

#[test]
fn a_checkpoint_of_another_form_is_an_error_and_no_surprise() {
    let ctx = Call { checkpoint: Some(json!("text")), ..Call::default() }.context();
    assert_eq!(ctx.checkpoint::<u64>().unwrap_err().reaction, Reaction::Permanent);
}

#[test]
fn the_ledger_is_bounded() {
    let outside = Outside::new();
    let ctx = outside.context();
    (0..1_001).for_each(|n| ctx.created("thing", &n.to_string()));
    assert_eq!(ctx.left_resources().len(), 1_000);
    assert!(outside.logs()[0].1.contains("`1000` is not noted"));
}

#[test]
fn cancellation_is_seen() {
    let outside = Outside::new();
    let ctx = outside.context();
    assert!(!ctx.cancelled());
    outside.cancel();
    assert!(ctx.cancelled());
}
