//! An instance from its start to its removal, while nothing breaks.

use jiff::SignedDuration;

use super::*;

fn two_calls() -> Json {
    json!({ "do": [
        { "a": { "call": "first", "with": { "n": 1 } } },
        { "b": { "call": "second", "with": { "n": "${ .n + 1 }" } } },
    ] })
}

#[tokio::test]
async fn an_instance_runs_from_start_to_end_and_is_all_there_to_see() {
    let kit = Kit::new(two_calls(), World::echo());
    let handle = kit.start().await;
    let start = Start {
        service: Some(ServiceName::parse("volume provision").unwrap()),
        name: Some("mine".to_owned()),
        ..order(Json::Null)
    };
    let started = handle.start(start).await.unwrap();
    assert!(!started.replayed);
    let id = started.summary.id;
    let summary = ended(&handle, id).await;
    assert_eq!((summary.status, &summary.output), (Status::Completed, &Some(json!({ "n": 2 }))));
    assert_eq!((&summary.input, summary.name.as_deref()), (&json!({}), Some("mine")));
    assert_eq!(kit.world.names(), ["first", "second"]);

    let tasks = handle.tasks(id).unwrap();
    let seen: Vec<_> = tasks.iter().map(|task| (task.name.as_str(), task.status, task.attempts.len())).collect();
    assert_eq!(seen, [("a", Status::Completed, 1), ("b", Status::Completed, 1)]);
    assert_eq!(tasks[1].input, json!({ "n": 1 }));
    assert_eq!(tasks[1].output, Some(json!({ "n": 2 })));
    assert_eq!(tasks[1].action.as_deref(), Some("test/second@1.0.0"));

    let history = handle.history(id, 0, 1000).unwrap();
    assert_eq!(handle.history(id, 3, 2).unwrap(), history[3..5]);
    assert!(handle.history(id, history.len() as u64, 10).unwrap().is_empty());
    // One commit for the start with the first intent, one for each result.
    assert_eq!(handle.counters().journal.commits, 3);
    assert_eq!((handle.counters().live, handle.counters().ended.completed), (0, 1));
    assert!(!handle.in_use(&summary.pack, &summary.pack_version));

    handle.delete(id).await.unwrap();
    assert_eq!(handle.instance(id), Err(InstanceError::NotFound(id)));
    let rows = kit.journal.scan(crate::journal::Scan::prefix(Vec::new(), 100)).unwrap();
    assert_eq!(rows, [], "nothing of it is left");
}

#[tokio::test]
async fn an_instance_that_needs_no_outside_ends_with_its_start() {
    let kit = Kit::new(json!({ "do": [{ "a": { "set": 1 } }] }), World::echo());
    let handle = kit.start().await;
    let started = handle.start(order(json!({}))).await.unwrap();
    assert_eq!((started.summary.status, started.summary.output), (Status::Completed, Some(json!(1))));
    assert_eq!(handle.counters().journal.commits, 1);
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let schema = json!({ "type": "object", "required": ["size"], "properties": { "size": { "minimum": 1 } } });
    let kit = Kit::new(json!({ "input": { "schema": schema }, "do": [{ "a": { "set": 1 } }] }), World::echo());
    let handle = kit.start().await;
    let unknown = Start { workflow: WorkflowName::parse("other").unwrap(), ..order(json!({})) };
    assert!(matches!(handle.start(unknown).await, Err(StartError::NotFound(_))));
    for (input, violation) in [(json!({}), "size"), (json!({ "size": 0 }), "/size"), (Json::Null, "size")] {
        let Err(StartError::InvalidInput(violations)) = handle.start(order(input)).await else { panic!() };
        assert!(violations.len() == 1 && violations[0].contains(violation), "{violations:?}");
    }
    assert_eq!(handle.counters().journal.commits, 0);
    handle.shutdown().await;
    assert!(matches!(handle.start(order(json!({ "size": 1 }))).await, Err(StartError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_starts_with_one_key_make_one_instance() {
    let kit = Kit::new(two_calls(), World::echo());
    let handle = kit.start().await;
    let starts = (0..100).map(|_| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.start(keyed("k", json!({ "a": 1, "b": 2 }))).await.unwrap() })
    });
    let started = futures_util::future::join_all(starts).await;
    let started: Vec<_> = started.into_iter().map(Result::unwrap).collect();
    let ids: BTreeSet<_> = started.iter().map(|started| started.summary.id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(started.iter().filter(|started| !started.replayed).count(), 1);
    let id = started[0].summary.id;
    ended(&handle, id).await;
    assert_eq!(handle.instances(&InstanceFilter::default(), 10, None).unwrap().items.len(), 1);
    assert_eq!(kit.world.names(), ["first", "second"]);

    let same = handle.start(keyed("k", json!({ "b": 2, "a": 1 }))).await.unwrap();
    assert_eq!((same.replayed, same.summary.status), (true, Status::Completed));
    assert_eq!(handle.start(keyed("k", json!({ "a": 2 }))).await, Err(StartError::KeyReused(id)));
    handle.delete(id).await.unwrap();
    assert!(!handle.start(keyed("k", json!({ "a": 2 }))).await.unwrap().replayed, "a deleted instance frees its key");
}

struct Dropped(watch::Sender<bool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

#[tokio::test]
async fn cancelling_interrupts_the_attempt_and_ends_the_instance() {
    let (sender, mut dropped) = watch::channel(false);
    let world = World::new(move |_, observer| {
        let guard = Dropped(sender.clone());
        async move {
            observer.log(perform::LogLevel::Info, "half way".to_owned());
            let _guard = guard;
            std::future::pending().await
        }
        .boxed()
    });
    let kit = Kit::new(two_calls(), world);
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let mut events = Box::pin(handle.follow(id, 0).unwrap());
    while !matches!(&**events.next().await.unwrap(), Event::Log { .. }) {}
    assert_eq!(handle.delete(id).await, Err(InstanceError::NotEnded(id)));
    let waiting = handle.instance(id).unwrap();
    assert_eq!(waiting.status, Status::Running);
    assert_eq!(waiting.waiting_for.as_deref(), Some("attempt 1 of a is running since 2026-01-01T00:00:00Z"));
    assert!(handle.in_use(&waiting.pack, &waiting.pack_version));

    handle.cancel(id, Some("anna".to_owned())).await.unwrap();
    assert_eq!(ended(&handle, id).await.status, Status::Cancelled);
    dropped.wait_for(|dropped| *dropped).await.unwrap();
    assert_eq!(handle.cancel(id, None).await, Err(InstanceError::Ended(id, Status::Cancelled)));
    let tasks = handle.tasks(id).unwrap();
    assert_eq!((tasks[0].status, tasks[0].attempts[0].outcome.as_str()), (Status::Cancelled, "interrupted"));
    assert_eq!(handle.logs(id).unwrap()[0].message, "half way", "what an interrupted attempt logged is kept");
}

#[tokio::test]
async fn a_wait_is_told_and_ends_when_its_time_has_come() {
    let clock = SimClock::new(new_year());
    let flow = json!({ "do": [{ "pause": { "wait": { "seconds": 10 } } }] });
    let kit = Kit { clock: Arc::new(clock.clone()), ..Kit::new(flow, World::echo()) };
    let handle = kit.start().await;
    let id = handle.start(order(json!({ "x": 1 }))).await.unwrap().summary.id;
    let summary = handle.instance(id).unwrap();
    assert_eq!(summary.status, Status::Waiting);
    assert_eq!(summary.waiting_for.as_deref(), Some("waits until 2026-01-01T00:00:10Z (task pause)"));

    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.wait(id, SignedDuration::from_secs(60)).await.unwrap() }
    });
    tokio::task::yield_now().await;
    clock.advance(SignedDuration::from_secs(10));
    assert_eq!(waiting.await.unwrap().output, Some(json!({ "x": 1 })));
}

#[tokio::test]
async fn waiting_for_an_instance_ends_with_the_time_that_was_given() {
    let clock = SimClock::new(new_year());
    let kit = Kit { clock: Arc::new(clock.clone()), ..Kit::new(two_calls(), World::new(|_, _| hangs())) };
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let waiting = handle.wait(id, SignedDuration::from_secs(5));
    let (summary, ()) = tokio::join!(waiting, async { clock.advance(SignedDuration::from_secs(5)) });
    assert_eq!(summary.unwrap().status, Status::Running);
}

#[tokio::test]
async fn attempts_beyond_the_bound_wait_for_their_turn() {
    let (release, _) = watch::channel(false);
    let released = release.clone();
    let world = World::new(move |_, _| {
        let mut released = released.subscribe();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            Ok(Success::default())
        }
        .boxed()
    });
    let flow = json!({ "do": [{ "a": { "call": "a" } }] });
    let kit = Kit { attempts_max: 1, ..Kit::new(flow, world) };
    let handle = kit.start().await;
    let first = handle.start(order(json!({}))).await.unwrap().summary.id;
    kit.world.called(1).await;
    let second = handle.start(order(json!({}))).await.unwrap().summary.id;
    tokio::task::yield_now().await;
    assert_eq!(handle.counters().attempts_running, 1);
    let told = handle.instance(second).unwrap().waiting_for.unwrap();
    assert!(told.contains("waits for its turn"), "{told}");
    release.send_replace(true);
    for id in [first, second] {
        assert_eq!(ended(&handle, id).await.status, Status::Completed);
    }
}

#[tokio::test]
async fn listings_filter_and_go_on_page_by_page() {
    let flow = json!({ "do": [{ "a": { "if": ".call", "call": "a" } }] });
    let kit = Kit::new(flow, World::new(|_, _| hangs()));
    let handle = kit.start().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let service = (n % 2 == 0).then(|| ServiceName::parse("even").unwrap());
        let start = Start { service, ..order(json!({ "call": n == 6 })) };
        ids.push(handle.start(start).await.unwrap().summary.id);
    }
    ids.reverse();
    let list = |filter: &InstanceFilter, limit, cursor: Option<&str>| {
        let page = handle.instances(filter, limit, cursor).unwrap();
        (page.items.iter().map(|summary| summary.id).collect::<Vec<_>>(), page.next)
    };
    let all = InstanceFilter::default();
    let (mut seen, mut next) = list(&all, 3, None);
    while let Some(cursor) = next {
        let (more, after) = list(&all, 3, Some(&cursor));
        seen.extend(more);
        next = after;
    }
    assert_eq!(seen, ids);
    let status = |status| InstanceFilter { status: vec![status], ..all.clone() };
    assert_eq!(list(&status(Status::Running), 10, None).0, ids[..1]);
    assert_eq!(list(&status(Status::Completed), 10, None).0, ids[1..]);
    let even = InstanceFilter { service: Some(ServiceName::parse("even").unwrap()), ..all.clone() };
    assert_eq!(list(&even, 10, None).0, [ids[0], ids[2], ids[4], ids[6]]);
    let even_ended = InstanceFilter { status: vec![Status::Completed], ..even };
    assert_eq!(list(&even_ended, 10, None).0, [ids[2], ids[4], ids[6]]);
    let other = InstanceFilter { workflow: Some(WorkflowName::parse("other").unwrap()), ..all.clone() };
    assert_eq!(list(&other, 10, None), (vec![], None));
    for cursor in ["zz", "00"] {
        assert_eq!(handle.instances(&all, 3, Some(cursor)), Err(InstanceError::BadCursor));
    }
}
