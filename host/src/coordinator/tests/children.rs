//! Child instances: waited for, failing, cancelled, detached, found again after a crash.

use super::*;
use crate::definition::graph::{Act, Callee, NodeKind};
use crate::journal::faulty::{Crash, CrashJournal};
use crate::machine::record::Parent;
use crate::model::standard;

/// The definition with each `call: run-<name>` made a call of the workflow `<name>` of the pack, and of nothing else.
fn compiled(definition: Json, detached: bool) -> Arc<Program> {
    let mut program = program(definition);
    for node in &mut program.nodes {
        let NodeKind::Act(Act { callee, detached: flag, .. }) = &mut node.kind else { continue };
        let name = callee.action().unwrap().action.to_string();
        if let Some(name) = name.strip_prefix("run-") {
            let name = WorkflowName::parse(name).unwrap();
            *callee = Callee::Workflow { namespace: "test".to_owned(), name, version: None };
            *flag = detached;
        }
    }
    Arc::new(program)
}

/// A parent that runs `child` with its input, and then `after`.
fn parent() -> Json {
    json!({ "do": [
        { "run": { "call": "run-child", "with": { "n": 1 } } },
        { "after": { "call": "after", "with": { "n": "${ .n + 10 }" } } },
    ] })
}

fn kit(parent: Arc<Program>, child: Json, world: Arc<World>) -> Kit {
    let shelf = Shelf([("flow".to_owned(), parent), ("child".to_owned(), compiled(child, false))].into());
    Kit { shelf: Arc::new(shelf), ..Kit::new(json!({ "do": [{ "a": { "set": 1 } }] }), world) }
}

fn child() -> Json {
    json!({ "do": [{ "work": { "call": "work", "with": { "n": "${ .n + 1 }" } } }] })
}

/// The instances, oldest first.
fn instances(handle: &Handle) -> Vec<InstanceSummary> {
    let mut found = handle.instances(&InstanceFilter::default(), 100, None).unwrap().items;
    found.reverse();
    found
}

#[tokio::test]
async fn a_parent_goes_on_with_its_child_s_output_and_needs_no_turn_to_wait() {
    let kit = Kit { attempts_max: 1, ..kit(compiled(parent(), false), child(), World::echo()) };
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let summary = ended(&handle, id).await;
    assert_eq!((summary.status, summary.output), (Status::Completed, Some(json!({ "n": 12 }))));
    assert_eq!(kit.world.names(), ["work", "after"]);
    let [first, second] = instances(&handle).try_into().unwrap();
    assert_eq!((first.id, first.parent), (id, None));
    let link = Parent { instance: id, task: "/do/0/run".to_owned(), detached: false };
    assert_eq!((second.parent, second.status, second.input), (Some(link), Status::Completed, json!({ "n": 1 })));
    assert!(handle.logs(id).unwrap()[0].message.contains(&second.id.to_string()));
}

#[tokio::test]
async fn a_child_s_error_is_the_parent_s_as_it_was() {
    let error = json!({ "type": "https://example.com/errors/sold-out", "status": 418, "title": "sold out", "detail": "no cups" });
    let raise = json!({ "do": [{ "stop": { "raise": { "error": error } } }] });
    let kit = kit(compiled(parent(), false), raise, World::echo());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let found = ended(&handle, id).await.error.unwrap();
    assert_eq!((found.kind.as_str(), found.status), ("https://example.com/errors/sold-out", 418));
    assert_eq!((found.title.as_deref(), found.detail.as_deref()), (Some("sold out"), Some("no cups")));
    assert_eq!(found.instance.as_deref(), Some("/do/0/run"));
}

#[tokio::test]
async fn a_child_that_cannot_be_started_says_why() {
    let check = async |child: &str, definition: Json, segment: &str, text: &str| {
        let flow = json!({ "do": [{ "run": { "call": format!("run-{child}") } }] });
        let kit = kit(compiled(flow, false), definition, World::echo());
        let handle = kit.start().await;
        let id = handle.start(order(json!({}))).await.unwrap().summary.id;
        let error = ended(&handle, id).await.error.unwrap();
        assert_eq!(error.kind, format!("{}{segment}", standard::BASE));
        assert!(error.detail.clone().unwrap().contains(text), "{error:?}");
    };
    check("other", child(), "configuration", "there is no other").await;
    let schema = json!({ "input": { "schema": { "required": ["size"] } }, "do": [{ "a": { "set": 1 } }] });
    check("child", schema, "validation", "size").await;
}

#[tokio::test]
async fn cancelling_a_parent_cancels_its_child_and_a_cancelled_child_fails_its_parent() {
    let world = World::new(|_, _| hangs());
    let kit = kit(compiled(parent(), false), child(), world.clone());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    world.called(1).await;
    handle.cancel(id, None).await.unwrap();
    assert_eq!(ended(&handle, id).await.status, Status::Cancelled);
    let [_, second] = instances(&handle).try_into().unwrap();
    assert_eq!(ended(&handle, second.id).await.status, Status::Cancelled);
    let asked = handle.history(second.id, 0, 100).unwrap();
    let by = format!("instance {id}");
    assert!(asked.iter().any(|one| matches!(&one.record, Record::CancelAsked { by: Some(found) } if *found == by)));

    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    world.called(2).await;
    let child = instances(&handle).pop().unwrap();
    assert_eq!(child.parent.unwrap().instance, id);
    handle.cancel(child.id, None).await.unwrap();
    let error = ended(&handle, id).await.error.unwrap();
    assert_eq!((error.kind, error.status), (format!("{}runtime", standard::BASE), 500));
}

#[tokio::test]
async fn a_timeout_around_a_child_cancels_it() {
    let clock = SimClock::new(new_year());
    let flow = json!({ "do": [{ "run": { "call": "run-child", "with": { "n": 1 }, "timeout": { "after": { "seconds": 5 } } } }] });
    let world = World::new(|_, _| hangs());
    let kit = Kit { clock: Arc::new(clock.clone()), ..kit(compiled(flow, false), child(), world.clone()) };
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    world.called(1).await;
    clock.advance(jiff::SignedDuration::from_secs(5));
    assert_eq!(ended(&handle, id).await.error.unwrap().status, 408);
    let child = instances(&handle).pop().unwrap();
    assert_eq!(ended(&handle, child.id).await.status, Status::Cancelled);
}

#[tokio::test]
async fn a_detached_child_goes_its_own_way() {
    let world = World::new(|attempt, _| {
        let name = attempt.call.callee.action().unwrap().action.to_string();
        if name == "work" { hangs() } else { gives(json!({ "n": 5 })) }
    });
    let flow =
        json!({ "do": [{ "run": { "call": "run-child", "with": { "n": 1 } } }, { "after": { "call": "after" } }] });
    let kit = kit(compiled(flow, true), child(), world.clone());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    assert_eq!(ended(&handle, id).await.status, Status::Completed);
    world.called(2).await;
    let child = instances(&handle).pop().unwrap();
    assert!(!child.status.is_final() && child.parent.unwrap().detached);
    handle.shutdown().await;
    let handle = kit.start().await;
    world.called(3).await;
    assert!(!handle.instance(child.id).unwrap().status.is_final(), "nobody has to wait for it");
}

#[tokio::test]
async fn a_workflow_that_runs_itself_is_stopped() {
    let flow = json!({ "do": [{ "run": { "call": "run-flow" } }] });
    let kit = kit(compiled(flow, false), child(), World::echo());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let error = ended(&handle, id).await.error.unwrap();
    assert!(error.detail.unwrap().contains("runs itself without end"));
    assert_eq!(instances(&handle).len(), 32);
}

#[test]
fn a_crash_at_any_write_leaves_one_child_and_the_same_output() {
    let live = |story: &mut dyn FnMut() -> BoxFuture<'static, Option<InstanceSummary>>| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story())
    };
    for crash in [Crash::Frozen, Crash::Unanswered] {
        for commits in 0.. {
            let journal = Arc::new(CrashJournal::new(commits, crash));
            let with =
                |journal: Arc<dyn Journal>| Kit { journal, ..kit(compiled(parent(), false), child(), World::echo()) };
            let (run, crashing) = (with(journal.clone()), journal.clone());
            let whole = live(&mut || {
                let (run, crashing) = (run.clone(), crashing.clone());
                async move {
                    let handle = run.start().await;
                    let story = async {
                        let id = handle.start(keyed("order", json!({}))).await.unwrap().summary.id;
                        ended(&handle, id).await
                    };
                    tokio::select! {
                        biased;
                        summary = story => Some(summary),
                        () = crashing.crashed() => None,
                    }
                }
                .boxed()
            });
            if whole.is_some() {
                assert!(commits >= 5, "two starts, two results of the child's side, two of the parent's: {commits}");
                break;
            }
            let again = with(Arc::new(journal.reopen()));
            let summary = live(&mut || {
                let again = again.clone();
                async move {
                    let handle = again.start().await;
                    let id = handle.start(keyed("order", json!({}))).await.unwrap().summary.id;
                    let summary = ended(&handle, id).await;
                    assert_eq!(instances(&handle).len(), 2, "one parent and one child");
                    Some(summary)
                }
                .boxed()
            });
            assert_eq!(summary.unwrap().output, Some(json!({ "n": 12 })), "{crash:?} after {commits} commits");
        }
    }
}

#[tokio::test]
async fn a_child_whose_parent_ended_before_a_crash_is_cancelled_at_the_start() {
    let world = World::new(|_, _| hangs());
    let kit = kit(compiled(parent(), false), child(), world.clone());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    world.called(1).await;
    let child = instances(&handle).pop().unwrap().id;
    handle.shutdown().await;
    // As if the server had broken down between the parent's end and the child's.
    let journal = &*kit.journal;
    let mut summary = store::summary(journal, id).unwrap().unwrap();
    summary.status = Status::Cancelled;
    journal.commit(store::add_end(crate::journal::Batch::default(), &[], &summary)).await.unwrap();
    let handle = kit.start().await;
    assert_eq!(ended(&handle, child).await.status, Status::Cancelled);
}

/// A parent whose call of a child is out and whose child has ended; as if the server had broken down in between.
async fn broken_down_before_the_parent_heard(kit: &Kit) -> (InstanceId, InstanceId) {
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    kit.world.called(1).await;
    let child = instances(&handle).pop().unwrap().id;
    handle.shutdown().await;
    (id, child)
}

#[tokio::test]
async fn a_child_is_not_deleted_before_its_parent_has_taken_its_end() {
    for crash in [Crash::Frozen, Crash::Unanswered] {
        // The fourth append is the parent's: it takes the child's end.
        let journal = Arc::new(CrashJournal::new(3, crash));
        let with =
            |journal: Arc<dyn Journal>| Kit { journal, ..kit(compiled(parent(), false), child(), World::echo()) };
        let run = with(journal.clone());
        let handle = run.start().await;
        let id = handle.start(keyed("order", json!({}))).await.unwrap().summary.id;
        journal.crashed().await;
        let found = instances(&handle).into_iter().find(|one| one.parent.is_some()).unwrap();
        assert_eq!(found.status, Status::Completed);
        if crash == Crash::Frozen {
            assert_eq!(handle.delete(found.id).await, Err(InstanceError::Awaited(found.id, id)));
        }
        let again = with(Arc::new(journal.reopen()));
        let handle = again.start().await;
        assert_eq!(ended(&handle, id).await.output, Some(json!({ "n": 12 })));
        assert_eq!(instances(&handle).len(), 2, "no other child was started");
        handle.delete(found.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_child_that_cannot_go_on_and_is_deleted_fails_its_parent_and_is_not_started_again() {
    let world = World::new(|_, _| hangs());
    let kit = kit(compiled(parent(), false), child(), world.clone());
    let (id, child) = broken_down_before_the_parent_heard(&kit).await;
    let row = crate::journal::keys::records(child, 1);
    kit.journal.commit(crate::journal::Batch::default().put(row, "?".into())).await.unwrap();
    let handle = kit.start().await;
    assert_eq!(handle.instance(child).unwrap().status, Status::Suspended);
    handle.delete(child).await.unwrap();
    let error = ended(&handle, id).await.error.unwrap();
    assert!(error.detail.unwrap().contains("deleted"), "who waits for it is told at once");
    assert_eq!(instances(&handle).len(), 1);
}
