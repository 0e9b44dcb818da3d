//! Listening and emitting across instances, whatever breaks in between.

use super::*;
use crate::coordinator::events::cloud_event::CloudEvent;
use crate::coordinator::{Accepted, Handle};
use crate::journal::faulty::{Crash, CrashJournal};
use crate::journal::{Scan, keys};

/// `flow` listens for one `a` and one `b`; `emit` emits an `a`, then a `b`.
fn shelf() -> Arc<Shelf> {
    let filter = |kind: &str| json!({ "with": { "type": kind } });
    let listen = json!({ "do": [{ "l": { "listen": { "to": { "all": [filter("a"), filter("b")] } } } }] });
    let emit = |kind: &str| json!({ "emit": { "event": { "with": { "type": kind, "data": kind } } } });
    let emit = json!({ "do": [{ "one": emit("a") }, { "pause": { "call": "x" } }, { "two": emit("b") }] });
    let named = |name: &str, definition| (name.to_owned(), Arc::new(program(definition)));
    Arc::new(Shelf([named("flow", listen), named("emit", emit)].into()))
}

fn kit(journal: Arc<dyn Journal>) -> Kit {
    Kit { journal, shelf: shelf(), ..Kit::new(json!({ "do": [{ "x": { "call": "x" } }] }), World::echo()) }
}

fn emitter() -> Start {
    Start { workflow: WorkflowName::parse("emit").unwrap(), ..keyed("emitter", json!({})) }
}

async fn send(handle: &Handle, kinds: &[&str]) -> Accepted {
    let event = |kind: &&str| json!({ "specversion": "1.0", "id": kind, "source": "/", "type": kind, "data": kind });
    let events = kinds.iter().map(|kind| CloudEvent::structured(event(kind)).unwrap()).collect();
    handle.take_events(&TenantName::standard(), events).await.unwrap()
}

async fn listen(handle: &Handle) -> InstanceId {
    handle.start(keyed("listener", json!({}))).await.unwrap().summary.id
}

/// One life of a server.
fn live<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

#[tokio::test]
async fn events_reach_a_listener_before_and_after_it_begins() {
    let handle = kit(Arc::new(MemoryJournal::new())).start().await;
    send(&handle, &["c", "b"]).await;
    let id = listen(&handle).await;
    send(&handle, &["d", "a"]).await;
    assert_eq!(ended(&handle, id).await.output, Some(json!(["b", "a"])));
}

#[tokio::test]
async fn each_of_many_listeners_gets_an_event() {
    let handle = kit(Arc::new(MemoryJournal::new())).start().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(handle.start(order(json!({}))).await.unwrap().summary.id);
    }
    send(&handle, &["a", "b"]).await;
    for id in ids {
        assert_eq!(ended(&handle, id).await.output, Some(json!(["a", "b"])));
    }
}

#[tokio::test]
async fn an_event_that_came_while_nobody_ran_the_listener_is_not_lost() {
    let run = kit(Arc::new(MemoryJournal::new()));
    let handle = run.start().await;
    let id = listen(&handle).await;
    send(&handle, &["a"]).await;
    handle.shutdown().await;
    let handle = run.start().await;
    send(&handle, &["b"]).await;
    assert_eq!(ended(&handle, id).await.output, Some(json!(["a", "b"])));
}

#[test]
fn a_sender_that_repeats_itself_is_heard_once_whichever_write_crashes() {
    check_crashes(|handle| {
        Box::pin(async move {
            let id = listen(handle).await;
            send(handle, &["a"]).await;
            send(handle, &["b"]).await;
            ended(handle, id).await
        })
    });
}

#[test]
fn what_one_instance_emits_another_hears_once_whichever_write_crashes() {
    let rows = check_crashes(|handle| {
        Box::pin(async move {
            let id = listen(handle).await;
            let emitter = handle.start(emitter()).await.unwrap().summary.id;
            let emitted = ended(handle, emitter).await;
            assert_eq!(emitted.output.unwrap()["type"], "b");
            ended(handle, id).await
        })
    });
    assert_eq!(rows, 2, "each event is in the inbox once");
}

/// Crashes a story at each of its writes and tells it again; it always ends with both events. Gives how many events the
/// inbox has at the end.
fn check_crashes(story: impl for<'a> Fn(&'a Handle) -> BoxFuture<'a, InstanceSummary>) -> usize {
    let mut events = 0;
    for crash in [Crash::Frozen, Crash::Unanswered] {
        for commits in 0..100 {
            let journal = Arc::new(CrashJournal::new(commits, crash));
            let whole = live(async {
                let handle = kit(journal.clone()).start().await;
                tokio::select! {
                    biased;
                    summary = story(&handle) => Some(summary),
                    () = journal.crashed() => None,
                }
            });
            let again = kit(Arc::new(journal.reopen()));
            let summary = live(async { story(&again.start().await).await });
            assert_eq!(summary.output, Some(json!(["a", "b"])), "{crash:?} after {commits} commits");
            events = again.journal.scan(Scan::prefix(keys::events(), 100)).unwrap().len();
            assert_eq!(events, 2, "{crash:?} after {commits} commits");
            if whole.is_some() {
                assert!(commits > 3, "the story has more commits than {commits}");
                break;
            }
        }
    }
    events
}

#[tokio::test]
async fn an_event_is_heard_in_its_tenant_alone() {
    let run = kit(Arc::new(MemoryJournal::new()));
    let handle = run.start().await;
    let [red, blue] = ["red", "blue"].map(|name| TenantName::parse(name).unwrap());
    let listen = async |tenant: &TenantName| {
        let start = Start { tenant: tenant.clone(), ..order(json!({})) };
        handle.start(start).await.unwrap().summary.id
    };
    let (of_red, of_blue, of_default) =
        (listen(&red).await, listen(&blue).await, listen(&TenantName::standard()).await);
    let send = async |tenant: &TenantName, kind: &str, data: &str| {
        let event = json!({ "specversion": "1.0", "id": kind, "source": "/", "type": kind, "data": data });
        let taken = handle.take_events(tenant, vec![CloudEvent::structured(event).unwrap()]).await.unwrap();
        (taken.accepted, taken.duplicates)
    };
    for (kind, of) in [("a", "red a"), ("b", "red b")] {
        assert_eq!(send(&red, kind, of).await, (1, 0));
    }
    assert_eq!(ended(&handle, of_red).await.output, Some(json!(["red a", "red b"])));
    for tenant in [&blue, &TenantName::standard()] {
        assert_eq!(send(tenant, "a", "other a").await, (1, 0), "the same identity in another tenant is another event");
    }
    assert_eq!(send(&red, "a", "again").await, (0, 1));
    // Whoever begins to listen later is offered what came before, of its own tenant only; so is who is recovered.
    handle.shutdown().await;
    let handle = run.start().await;
    let late = handle.start(Start { tenant: blue.clone(), ..order(json!({})) }).await.unwrap().summary.id;
    let event = json!({ "specversion": "1.0", "id": "b", "source": "/", "type": "b", "data": "blue b" });
    handle.take_events(&blue, vec![CloudEvent::structured(event).unwrap()]).await.unwrap();
    for id in [of_blue, late] {
        assert_eq!(ended(&handle, id).await.output, Some(json!(["other a", "blue b"])));
    }
    assert!(!handle.instance(of_default).unwrap().status.is_final());
}

#[tokio::test]
async fn what_an_instance_emits_is_heard_in_its_tenant_alone() {
    let run = kit(Arc::new(MemoryJournal::new()));
    let handle = run.start().await;
    let [red, blue] = ["red", "blue"].map(|name| TenantName::parse(name).unwrap());
    let of_blue = handle.start(Start { tenant: blue, ..order(json!({})) }).await.unwrap().summary.id;
    let of_red = handle.start(Start { tenant: red.clone(), ..order(json!({})) }).await.unwrap().summary.id;
    let emitting = handle.start(Start { tenant: red, ..emitter() }).await.unwrap().summary.id;
    ended(&handle, emitting).await;
    assert_eq!(ended(&handle, of_red).await.output, Some(json!(["a", "b"])));
    assert!(!handle.instance(of_blue).unwrap().status.is_final());
}
