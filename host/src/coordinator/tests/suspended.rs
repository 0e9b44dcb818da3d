//! Suspended instances: durable, repeatable, and shown as what they are.

use super::*;

fn two_calls() -> Json {
    json!({ "do": [{ "a": { "call": "a", "with": { "n": 1 } } }, { "b": { "call": "b", "with": { "n": 2 } } }] })
}

/// The first call is answered when the sender says so; all others at once.
fn world() -> (Arc<World>, watch::Sender<bool>) {
    let (let_go, gate) = watch::channel(false);
    let world = World::new(move |attempt, _| {
        let (mut gate, output) = (gate.clone(), attempt.call.arguments.clone());
        async move {
            let _ = gate.wait_for(|open| *open).await;
            Ok(Success { output, ..Success::default() })
        }
        .boxed()
    });
    (world, let_go)
}

#[tokio::test]
async fn what_is_out_ends_and_nothing_new_begins_until_it_is_resumed() {
    let (world, let_go) = world();
    let kit = Kit::new(two_calls(), world.clone());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    world.called(1).await;
    for _ in 0..2 {
        handle.suspend(id, Some("anna".to_owned())).await.unwrap();
    }
    let summary = handle.instance(id).unwrap();
    assert_eq!(summary.status, Status::Suspended);
    assert!(summary.waiting_for.unwrap().contains("until it is resumed"));
    assert_eq!((handle.counters().live, handle.counters().suspended), (0, 1));
    let filter = InstanceFilter { status: Some(Status::Suspended), ..InstanceFilter::default() };
    assert_eq!(handle.instances(&filter, 10, None).unwrap().items.len(), 1);
    assert_eq!(handle.tasks(id).unwrap()[0].status, Status::Suspended);
    let_go.send_replace(true);
    while !matches!(handle.history(id, 0, 100).unwrap().last().unwrap().record, Record::Result { .. }) {
        tokio::task::yield_now().await;
    }
    handle.shutdown().await;

    let handle = kit.start().await;
    assert_eq!(handle.instance(id).unwrap().status, Status::Suspended, "after a restart, too");
    assert_eq!(world.names(), ["a"]);
    for _ in 0..2 {
        handle.resume(id, None).await.unwrap();
    }
    assert_eq!(ended(&handle, id).await.output, Some(json!({ "n": 2 })));
    assert_eq!(world.names(), ["a", "b"], "the result that came meanwhile was kept");
    let asked = handle.history(id, 0, 100).unwrap();
    let asked = asked.iter().filter(|one| matches!(one.record, Record::Suspended { .. } | Record::Resumed { .. }));
    assert_eq!(asked.count(), 2, "what changes nothing is not recorded");
    assert_eq!(handle.suspend(id, None).await, Err(InstanceError::Ended(id, Status::Completed)));
    assert_eq!(handle.resume(id, None).await, Err(InstanceError::Ended(id, Status::Completed)));
}

#[tokio::test]
async fn a_suspended_instance_can_be_cancelled() {
    let (world, _let_go) = world();
    let kit = Kit::new(two_calls(), world.clone());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    handle.suspend(id, None).await.unwrap();
    handle.cancel(id, None).await.unwrap();
    assert_eq!(ended(&handle, id).await.status, Status::Cancelled);
}

#[tokio::test]
async fn one_that_could_not_be_taken_up_is_tried_again() {
    let world = World::new(|_, _| hangs());
    let before = Kit::new(two_calls(), world);
    let id = before.start().await.start(order(json!({}))).await.unwrap().summary.id;
    let row = crate::journal::keys::records(id, 1);
    let sound = before.journal.get(&row).unwrap().unwrap();
    let put =
        async |value| before.journal.commit(crate::journal::Batch::default().put(row.clone(), value)).await.unwrap();
    put("?".into()).await;
    let kit = Kit { world: World::echo(), ..before.clone() };
    let handle = kit.start().await;
    assert!(matches!(handle.resume(id, None).await, Err(InstanceError::Damaged(..))), "it still cannot be");
    put(sound).await;
    let (one, other) = tokio::join!(handle.resume(id, None), handle.resume(id, None));
    assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
    assert_eq!(ended(&handle, id).await.output, Some(json!({ "n": 2 })));
}
