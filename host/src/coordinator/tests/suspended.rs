//! Suspended and reopened instances: durable, repeatable, and shown as what they are.

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
    let filter = InstanceFilter { status: vec![Status::Suspended], ..InstanceFilter::default() };
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
    handle.resume(id, None).await.unwrap();
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

#[tokio::test]
async fn a_faulted_instance_goes_on_from_the_task_that_failed() {
    use futures_util::StreamExt as _;
    let world = World::new(|attempt, _| {
        let name = attempt.call.callee.action().unwrap().action.to_string();
        gives(json!(name))
    });
    let broken = World::new(|attempt, _| {
        let name = attempt.call.callee.action().unwrap().action.to_string();
        if name == "b" { fails(409) } else { gives(json!({ "n": 1 })) }
    });
    let kit = Kit::new(two_calls(), broken.clone());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    assert_eq!(ended(&handle, id).await.error.unwrap().status, 409);
    handle.shutdown().await;

    let kit = Kit { world: world.clone(), ..kit };
    let handle = kit.start().await;
    let (one, other) = tokio::join!(handle.retry(id, Some("anna".to_owned())), handle.retry(id, None));
    assert!(one.is_ok() != other.is_ok(), "one of two: {one:?} {other:?}");
    while !handle.instance(id).unwrap().status.is_final() {
        tokio::task::yield_now().await;
    }
    let summary = handle.instance(id).unwrap();
    assert_eq!((summary.status, summary.output, summary.error), (Status::Completed, Some(json!("b")), None));
    assert_eq!(world.names(), ["b"], "what was done before stays done");
    for (status, count) in [(Status::Faulted, 0), (Status::Completed, 1)] {
        let filter = InstanceFilter { status: vec![status], ..InstanceFilter::default() };
        assert_eq!(handle.instances(&filter, 10, None).unwrap().items.len(), count, "{status:?}");
    }
    let tasks = handle.tasks(id).unwrap();
    let seen: Vec<_> = tasks.iter().map(|task| (task.name.as_str(), task.status)).collect();
    assert_eq!(seen, [("a", Status::Completed), ("b", Status::Faulted), ("b", Status::Completed)]);
    let told: Vec<_> = handle.follow(id, 0).unwrap().collect().await;
    assert!(told.len() > 12, "a follower is told of the time after the first end, too: {}", told.len());
    assert!(matches!(handle.retry(id, None).await, Err(InstanceError::NotRetried(..))), "it has completed");
}

#[tokio::test]
async fn a_reopened_instance_survives_a_restart_and_may_fault_again() {
    let kit = Kit::new(two_calls(), World::new(|_, _| fails(500)));
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    ended(&handle, id).await;
    handle.retry(id, None).await.unwrap();
    while !handle.instance(id).unwrap().status.is_final() {
        tokio::task::yield_now().await;
    }
    assert_eq!(handle.instance(id).unwrap().status, Status::Faulted);
    handle.shutdown().await;
    let hanging = World::new(|_, _| hangs());
    let kit = Kit { world: hanging.clone(), ..kit };
    let handle = kit.start().await;
    handle.retry(id, None).await.unwrap();
    hanging.called(1).await;
    handle.shutdown().await;
    let kit = Kit { world: World::echo(), ..kit };
    let handle = kit.start().await;
    while !handle.instance(id).unwrap().status.is_final() {
        tokio::task::yield_now().await;
    }
    assert_eq!(handle.instance(id).unwrap().output, Some(json!({ "n": 2 })));
}

/// Goes on to the completion, trying again what faulted.
async fn to_its_completion(handle: Handle) -> InstanceSummary {
    let id = handle.start(keyed("order", json!({}))).await.unwrap().summary.id;
    loop {
        let summary = handle.instance(id).unwrap();
        match summary.status {
            Status::Completed => return summary,
            Status::Faulted => match handle.retry(id, None).await {
                // Its end can be read, and its owner was not answered yet.
                Err(InstanceError::NotRetried(_, why)) if why.contains("somebody else") => {
                    tokio::task::yield_now().await;
                }
                retried => retried.unwrap(),
            },
            _ => tokio::task::yield_now().await,
        }
    }
}

#[test]
fn a_reopening_survives_a_crash_at_any_write() {
    use crate::journal::faulty::{Crash, CrashJournal};
    fn live<T>(story: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
    }
    for crash in [Crash::Frozen, Crash::Unanswered] {
        for commits in 0.. {
            let first = Mutex::new(None);
            let world = World::new(move |attempt, _| {
                let (call, key) = (&attempt.call, attempt.call.key.clone());
                let is_b = call.callee.action().unwrap().action.as_str() == "b";
                if is_b && *first.lock().unwrap().get_or_insert(key.clone()) == key {
                    return fails(409);
                }
                gives(call.arguments.clone())
            });
            let journal = Arc::new(CrashJournal::new(commits, crash));
            let kit = Kit { journal: journal.clone(), ..Kit::new(two_calls(), world.clone()) };
            let whole = live(async {
                tokio::select! {
                    biased;
                    summary = async { to_its_completion(kit.start().await).await } => Some(summary),
                    () = journal.crashed() => None,
                }
            });
            let over = whole.is_some();
            let summary = whole.unwrap_or_else(|| {
                let again = Kit { journal: Arc::new(journal.reopen()), ..kit.clone() };
                live(async { to_its_completion(again.start().await).await })
            });
            assert_eq!(summary.output, Some(json!({ "n": 2 })), "{crash:?} after {commits} commits");
            let made = world.effects.lock().unwrap().iter().filter(|(name, _)| name == "b").count();
            assert_eq!(made, 2, "once as it was, once as somebody asked for: {crash:?} after {commits} commits");
            if over {
                // The fifth commit is the end; once it is durable it can be read, answered or not.
                let fewest = if crash == Crash::Unanswered { 4 } else { 5 };
                assert_eq!(commits, fewest, "{crash:?}");
                break;
            }
        }
    }
}
