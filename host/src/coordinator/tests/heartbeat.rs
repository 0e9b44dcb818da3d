//! `metadata.heartbeat`: an attempt that reports nothing for so long is ended.

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::SignedDuration;
use tokio::sync::mpsc;

use super::*;

/// Lets everything run that can.
async fn quiet() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn watched(effect: &str, probe: bool) -> Json {
    let metadata = json!({ "heartbeat": "PT10S", "effect": effect, "probe": probe });
    json!({ "do": [{ "a": { "call": "slow", "with": { "n": 1 }, "metadata": metadata } }] })
}

fn kit(definition: Json, world: Arc<World>) -> (Kit, SimClock) {
    let clock = SimClock::new(new_year());
    (Kit { clock: Arc::new(clock.clone()), ..Kit::new(definition, world) }, clock)
}

#[tokio::test]
async fn an_attempt_that_reports_nothing_is_ended_as_timed_out() {
    let (kit, clock) = kit(watched("idempotent", false), World::new(|_, _| hangs()));
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    kit.world.called(1).await;
    quiet().await;
    clock.advance(SignedDuration::from_secs(9));
    quiet().await;
    assert_eq!(handle.instance(id).unwrap().status, Status::Running);
    clock.advance(SignedDuration::from_secs(1));
    let summary = ended(&handle, id).await;
    let error = summary.error.unwrap();
    assert_eq!((summary.status, error.status), (Status::Faulted, 408));
    assert!(error.kind.ends_with("/timeout"), "{}", error.kind);
    let detail = error.detail.unwrap();
    assert!(detail.contains("`a` reported no progress for 10s") && detail.contains("metadata.heartbeat"), "{detail}");
}

/// Reports whenever it is told to, in the way it is told; ends when nobody tells it any more.
fn obedient() -> (Arc<World>, mpsc::UnboundedSender<bool>) {
    let (say, orders) = mpsc::unbounded_channel();
    let orders = Arc::new(tokio::sync::Mutex::new(orders));
    let world = World::new(move |_, observer| {
        let orders = orders.clone();
        async move {
            while let Some(progress) = orders.lock().await.recv().await {
                match progress {
                    true => observer.progress(Vec::new(), None),
                    false => observer.checkpoint(json!(1)).await.unwrap(),
                }
            }
            Ok(Success { output: json!("done"), ..Success::default() })
        }
        .boxed()
    });
    (world, say)
}

#[tokio::test]
async fn progress_and_checkpoints_keep_an_attempt_alive() {
    let (world, say) = obedient();
    let (kit, clock) = kit(watched("resumable", false), world);
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    kit.world.called(1).await;
    quiet().await;
    for progress in [true, false, true, false] {
        clock.advance(SignedDuration::from_secs(9));
        quiet().await;
        say.send(progress).unwrap();
        quiet().await;
    }
    drop(say);
    let summary = ended(&handle, id).await;
    assert_eq!((summary.status, summary.output), (Status::Completed, Some(json!("done"))));
}

#[tokio::test]
async fn an_attempt_that_may_be_made_once_is_asked_about_before_it_counts_as_failed() {
    let (kit, clock) = kit(watched("once", true), World::new(|_, _| hangs()));
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    kit.world.called(1).await;
    quiet().await;
    clock.advance(SignedDuration::from_secs(10));
    let summary = ended(&handle, id).await;
    assert_eq!((summary.status, summary.output), (Status::Completed, Some(json!({ "n": 1 }))), "it took effect");
    assert_eq!(*kit.world.probes.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_retry_catches_a_missing_heartbeat() {
    let again = json!({ "limit": { "attempt": { "count": 1 } } });
    let definition = json!({ "do": [{ "t": {
        "try": watched("idempotent", false)["do"],
        "catch": { "errors": { "with": { "status": 408 } }, "retry": again } } }] });
    let begun = Arc::new(AtomicU32::new(0));
    let count = begun.clone();
    let world = World::new(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
        0 => hangs(),
        _ => gives(json!("second")),
    });
    let (kit, clock) = kit(definition, world);
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    kit.world.called(1).await;
    quiet().await;
    clock.advance(SignedDuration::from_secs(10));
    let summary = ended(&handle, id).await;
    assert_eq!((summary.status, summary.output), (Status::Completed, Some(json!("second"))));
    assert_eq!(begun.load(Ordering::SeqCst), 2);
}
