//! What is started when an instance is cancelled, and what follows one that has ended.

use super::*;

/// `flow` hangs and names `on_cancel` for its cancellation; `sweep` calls `sweep` with what it is given.
fn kit(on_cancel: &str) -> Kit {
    let flow = json!({
        "document": { "metadata": { "onCancel": on_cancel } },
        "do": [{ "note": { "set": { "made": 7 }, "export": { "as": "${ . }" } } }, { "work": { "call": "hang" } }],
    });
    let sweep = json!({ "do": [{ "clean": { "call": "sweep" } }] });
    let strict = json!({
        "input": { "schema": { "properties": { "instance": {}, "input": {} }, "additionalProperties": false } },
        "do": [{ "clean": { "call": "sweep" } }],
    });
    let named = |name: &str, definition| (name.to_owned(), Arc::new(program(definition)));
    let world = World::new(|attempt, _| match attempt.call.callee.action().unwrap().action.as_str() {
        "hang" => hangs(),
        _ => gives(attempt.call.arguments.clone()),
    });
    let shelf = Arc::new(Shelf([named("flow", flow), named("sweep", sweep), named("strict", strict)].into()));
    Kit { shelf, ..Kit::new(json!({ "do": [{ "a": { "set": 1 } }] }), world) }
}

fn all(handle: &Handle) -> Vec<InstanceSummary> {
    handle.instances(&InstanceFilter::default(), 10, None).unwrap().items
}

#[tokio::test]
async fn cancelling_starts_what_the_workflow_names_once() {
    let kit = kit("sweep");
    let handle = kit.start().await;
    let id = handle.start(order(json!({ "size": 1 }))).await.unwrap().summary.id;
    kit.world.called(1).await;
    handle.cancel(id, None).await.unwrap();
    assert_eq!(ended(&handle, id).await.status, Status::Cancelled);
    assert!(matches!(handle.cancel(id, None).await, Err(InstanceError::Ended(..))), "a second request starts nothing");
    let all = all(&handle);
    assert_eq!(all.len(), 2, "{all:?}");
    let cleaning = ended(&handle, all[0].id).await;
    assert_eq!(cleaning.input, json!({ "instance": id, "input": { "size": 1 }, "context": { "made": 7 } }));
    let parent = cleaning.parent.unwrap();
    assert_eq!((parent.instance, parent.detached), (id, true));
    assert_eq!((cleaning.status, kit.world.names()), (Status::Completed, vec!["hang".to_owned(), "sweep".to_owned()]));
}

#[tokio::test]
async fn a_schema_that_knows_no_context_is_given_none() {
    let kit = kit("strict");
    let handle = kit.start().await;
    let id = handle.start(order(json!({ "size": 1 }))).await.unwrap().summary.id;
    kit.world.called(1).await;
    handle.cancel(id, None).await.unwrap();
    let cleaning = ended(&handle, all(&handle)[0].id).await;
    assert_eq!(cleaning.input, json!({ "instance": id, "input": { "size": 1 } }));
}

#[tokio::test]
async fn what_is_named_and_not_there_keeps_nobody_from_cancelling() {
    for name in ["lost", "not a name", "flow"] {
        let kit = kit(name);
        let handle = kit.start().await;
        let id = handle.start(order(json!({}))).await.unwrap().summary.id;
        kit.world.called(1).await;
        handle.cancel(id, None).await.unwrap();
        assert_eq!(ended(&handle, id).await.status, Status::Cancelled, "{name}");
        assert_eq!(all(&handle).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_follow_up_names_what_it_follows_and_its_key_stands_for_that_too() {
    let kit = Kit::new(json!({ "do": [{ "a": { "set": 1 } }] }), World::echo());
    let handle = kit.start().await;
    let first = handle.start(order(json!({}))).await.unwrap().summary.id;
    let second = handle.start(order(json!({}))).await.unwrap().summary.id;
    let started = handle.start_follow_up(keyed("k", json!({})), first, "next").await.unwrap();
    let parent = started.summary.parent.clone().unwrap();
    assert_eq!((parent.instance, parent.task.as_str(), parent.detached), (first, "follow-ups/next", true));
    let again = handle.start_follow_up(keyed("k", json!({})), first, "next").await.unwrap();
    assert_eq!((again.replayed, again.summary.id), (true, started.summary.id));
    let id = started.summary.id;
    for refused in [
        handle.start_follow_up(keyed("k", json!({})), second, "next").await,
        handle.start_follow_up(keyed("k", json!({})), first, "other").await,
        handle.start(keyed("k", json!({}))).await,
    ] {
        assert_eq!(refused, Err(StartError::KeyReused(id)));
    }
}
