//! What breaks: every step fails, every step is repeated, every write crashes, a store that fails, damaged rows.

use super::*;
use crate::journal::faulty::{Crash, CrashJournal};
use crate::journal::{Batch, Scan, keys};

/// Calls of each effect, a loop, a retry, a handler, waits.
fn story() -> Json {
    json!({ "do": [
        { "plan": { "call": "plan", "with": { "n": 0 }, "export": { "as": { "plan": "${ . }" } } } },
        { "each": { "for": { "in": [1, 2], "each": "x" }, "do": [
            { "make": { "call": "make", "with": { "n": "${ .n + $x }" },
                        "metadata": { "effect": "once", "probe": true } } },
            { "pause": { "wait": { "seconds": 5 } } },
        ] } },
        { "try": { "try": [{ "flaky": { "call": "flaky", "with": { "n": "${ .n + 10 }" } } }],
                   "catch": { "retry": { "delay": { "seconds": 1 }, "limit": { "attempt": { "count": 3 } } } } } },
        { "copy": { "call": "copy", "with": { "n": "${ .n + 100 }" }, "metadata": { "effect": "resumable" } } },
    ] })
}

fn expected() -> Json {
    json!({ "n": 113 })
}

/// Echoes; `flaky` fails for the first key it sees.
fn world() -> Arc<World> {
    let first = Mutex::new(None);
    World::new(move |attempt, _| {
        let key = attempt.call.key.clone();
        if attempt.call.callee.action().unwrap().action.as_str() == "flaky"
            && *first.lock().unwrap().get_or_insert(key.clone()) == key
        {
            return fails(503);
        }
        gives(attempt.call.arguments.clone())
    })
}

fn kit(journal: Arc<dyn Journal>, world: Arc<World>) -> Kit {
    Kit { journal, clock: Arc::new(JumpClock::default()), ..Kit::new(story(), world) }
}

/// One life of a server: whatever is under way when the story is over is killed.
fn live<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

/// Every call to a `once` action was made once, and the others with one key for each activation.
fn check_effects(world: &World) {
    let calls = world.calls.lock().unwrap();
    let made: Vec<_> = calls.iter().filter(|(name, _, _)| name == "make").collect();
    let keys: BTreeSet<_> = made.iter().map(|(_, key, _)| key).collect();
    assert_eq!((made.len(), keys.len()), (2, 2), "{calls:?}");
    let effects = world.effects.lock().unwrap();
    assert_eq!(effects.len(), 6, "plan, two made, two flaky tries, copy: {effects:?}");
}

#[test]
fn every_write_crashes() {
    for crash in [Crash::Frozen, Crash::Unanswered] {
        let mut commits = 0;
        loop {
            let world = world();
            let journal = Arc::new(CrashJournal::new(commits, crash));
            let run = kit(journal.clone(), world.clone());
            let whole = live(async {
                let handle = run.start().await;
                let story = async {
                    let id = handle.start(keyed("order", json!({}))).await.unwrap().summary.id;
                    ended(&handle, id).await
                };
                tokio::select! {
                    biased;
                    summary = story => Some(summary),
                    () = journal.crashed() => None,
                }
            });
            if let Some(summary) = whole {
                assert_eq!(summary.output, Some(expected()));
                assert!(commits > 8, "the story has more commits than {commits}");
                break;
            }
            let again = kit(Arc::new(journal.reopen()), world.clone());
            let summary = live(async {
                let handle = again.start().await;
                // The client that got no answer asks again with its key.
                let started = handle.start(keyed("order", json!({}))).await.unwrap();
                assert_eq!(started.replayed, commits > 0 || crash == Crash::Unanswered);
                ended(&handle, started.summary.id).await
            });
            assert_eq!(summary.output, Some(expected()), "{crash:?} after {commits} commits");
            check_effects(&world);
            commits += 1;
        }
    }
}

#[test]
fn every_step_repeats() {
    // Each call in turn hangs when it is first made; the server is stopped and started again.
    for hanging in 0..7 {
        let inner = world();
        let (count, script) = (Mutex::new(0), inner.clone());
        let world = World::new(move |attempt, observer| {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count == hanging + 1 { hangs() } else { (script.act)(attempt, observer) }
        });
        let run = kit(Arc::new(MemoryJournal::new()), world.clone());
        let (id, whole) = live(async {
            let handle = run.start().await;
            let id = handle.start(order(json!({}))).await.unwrap().summary.id;
            if hanging < 6 {
                world.called(hanging + 1).await;
                let commits = handle.counters().journal.commits;
                handle.shutdown().await;
                assert_eq!(handle.counters().journal.commits, commits, "stopping writes nothing");
                return (id, false);
            }
            ended(&handle, id).await;
            (id, true)
        });
        if whole {
            check_effects(&world);
            continue;
        }
        let summary = live(async {
            let handle = run.start().await;
            ended(&handle, id).await
        });
        let calls = world.calls.lock().unwrap().clone();
        let (name, key, _) = &calls[hanging];
        let again: Vec<_> = calls.iter().filter(|call| call.1 == *key).map(|call| call.2).collect();
        match name.as_str() {
            "make" => assert_eq!((again, *world.probes.lock().unwrap()), (vec![1], 1), "it is probed, not repeated"),
            _ => assert_eq!(again, [1, 2], "{name}"),
        }
        assert_eq!(summary.output, Some(expected()), "{name}");
        let effects = world.effects.lock().unwrap();
        assert_eq!(effects.len(), 6, "{name}: {effects:?}");
    }
}

#[test]
fn every_step_fails() {
    let names = ["plan", "make", "make", "flaky", "copy"];
    for (failing, name) in names.iter().enumerate() {
        let count = Mutex::new(0);
        let world = World::new(move |attempt, _| {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count > failing { fails(409) } else { gives(attempt.call.arguments.clone()) }
        });
        let run = kit(Arc::new(MemoryJournal::new()), world.clone());
        let summary = live(async {
            let handle = run.start().await;
            let id = handle.start(order(json!({}))).await.unwrap().summary.id;
            ended(&handle, id).await
        });
        let error = summary.error.unwrap();
        assert_eq!((summary.status, error.status), (Status::Faulted, 409));
        assert!(error.instance.unwrap().ends_with(name));
        let tries = if *name == "flaky" { 4 } else { 1 };
        assert_eq!(world.names().len(), failing + tries, "nothing is called after it");
    }
}

#[test]
fn a_store_that_fails_stops_all_work_and_a_restart_goes_on() {
    for commits in 0..5 {
        let world = world();
        let journal = Arc::new(CrashJournal::new(commits, Crash::Failing));
        let run = kit(journal.clone(), world.clone());
        live(async {
            let handle = run.start().await;
            let started = handle.start(keyed("order", json!({}))).await;
            assert_eq!(started.is_err(), commits == 0);
            journal.crashed().await;
            handle.0.stop.cancelled().await;
            let calls = world.names().len();
            assert!(handle.closed().is_some());
            assert!(matches!(handle.start(order(json!({}))).await, Err(StartError::Unavailable(_))));
            handle.shutdown().await;
            assert_eq!(world.names().len(), calls, "no effect is issued any more");
        });
        let again = kit(Arc::new(journal.reopen()), world.clone());
        let summary = live(async {
            let handle = again.start().await;
            let id = handle.start(keyed("order", json!({}))).await.unwrap().summary.id;
            ended(&handle, id).await
        });
        assert_eq!(summary.output, Some(expected()));
        check_effects(&world);
    }
}

#[test]
fn a_damaged_instance_is_reported_and_stops_nobody_else() {
    let world = World::new(|_, _| hangs());
    let journal = Arc::new(MemoryJournal::new());
    let run = Kit { journal: journal.clone(), ..Kit::new(json!({ "do": [{ "a": { "call": "a" } }] }), world.clone()) };
    let (damaged, sound) = live(async {
        let handle = run.start().await;
        let start = || handle.start(order(json!({})));
        (start().await.unwrap().summary.id, start().await.unwrap().summary.id)
    });
    let rows = journal.scan(Scan::prefix(keys::history(damaged), 10)).unwrap();
    let broken = rows.iter().fold(Batch::default(), |batch, row| batch.put(row.key.clone(), "\u{1}[]".into()));
    journal.apply(broken).unwrap();
    live(async {
        let handle = run.start().await;
        let summary = handle.instance(damaged).unwrap();
        assert_eq!(summary.status, Status::Suspended);
        assert!(summary.waiting_for.unwrap().contains("its history is empty"));
        assert!(matches!(handle.cancel(damaged, None).await, Err(InstanceError::Damaged(..))));
        assert!(handle.in_use(&summary.pack, &summary.pack_version));
        assert_eq!((handle.counters().live, handle.counters().suspended), (1, 1));
        handle.delete(damaged).await.unwrap();
        assert_eq!(handle.instance(damaged), Err(InstanceError::NotFound(damaged)));
        handle.cancel(sound, None).await.unwrap();
        assert_eq!(ended(&handle, sound).await.status, Status::Cancelled);
    });
}

/// Bytes that somebody spoiled: cut short, turned over, of another kind.
fn spoiled(sound: &[u8]) -> Vec<Vec<u8>> {
    let cut = (0..sound.len()).step_by(7).map(|length| sound[..length].to_vec());
    let turned = (0..sound.len()).step_by(11).map(|at| {
        let mut bytes = sound.to_vec();
        bytes[at] ^= 0x55;
        bytes
    });
    let other = [b"\x01null".to_vec(), b"\x01[1]".to_vec(), b"\x02[]".to_vec(), vec![0xff; 40]];
    cut.chain(turned).chain(other).collect()
}

#[test]
fn whatever_stands_in_a_row_the_recovery_says_which_and_the_others_go_on() {
    let world = World::new(|attempt, _| if attempt.call.attempt == 1 { hangs() } else { gives(json!(1)) });
    let flow = json!({ "do": [{ "a": { "call": "a" } }] });
    let run = Kit::new(flow.clone(), world);
    let (damaged, sound) = live(async {
        let handle = run.start().await;
        let start = || handle.start(order(json!({})));
        (start().await.unwrap().summary.id, start().await.unwrap().summary.id)
    });
    let rows = run.journal.scan(Scan::prefix(Vec::new(), 100)).unwrap();
    let whole = rows.iter().fold(Batch::default(), |batch, row| batch.put(row.key.clone(), row.value.clone()));
    let (records, summary) = (keys::records(damaged, 1), keys::instance(damaged));
    let mut refused = 0;
    for (key, named) in [(records, "record 1"), (summary, "summary")] {
        let stored = run.journal.get(&key).unwrap().unwrap();
        for bytes in spoiled(&stored) {
            let journal = MemoryJournal::new();
            journal.apply(whole.clone()).unwrap();
            journal.apply(Batch::default().put(key.clone(), bytes.clone().into())).unwrap();
            let kit = Kit { journal: Arc::new(journal), ..run.clone() };
            live(async {
                let handle = kit.start().await;
                assert_eq!(ended(&handle, sound).await.status, Status::Completed, "the other goes on");
                if let Some(why) = handle.0.damage_of(damaged) {
                    refused += 1;
                    let shown = String::from_utf8_lossy(&bytes).into_owned();
                    let told = why.contains(named) || why.contains("apply record") || why.contains("install");
                    assert!(told || why.contains("history"), "{why}: {shown}");
                }
            });
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn an_instance_of_another_definition_waits_for_its_own() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let flow = |name: &str| json!({ "do": [{ name: { "call": "a" } }] });
    let before = Kit { journal: journal.clone(), ..Kit::new(flow("a"), World::new(|_, _| hangs())) };
    let id = live(async { before.start().await.start(order(json!({}))).await.unwrap().summary.id });
    let other = Kit { journal: journal.clone(), ..Kit::new(flow("b"), World::echo()) };
    live(async {
        let summary = other.start().await.instance(id).unwrap();
        assert_eq!(summary.status, Status::Suspended);
        assert!(summary.waiting_for.unwrap().contains("install that one again"));
    });
    let back = Kit { world: World::echo(), ..before };
    let summary = live(async {
        let handle = back.start().await;
        ended(&handle, id).await
    });
    assert_eq!(summary.status, Status::Completed);
}

#[tokio::test]
async fn an_attempt_that_panics_is_an_error_of_its_task() {
    let world = World::new(|_, _| async { panic!("a fault of ours") }.boxed());
    let kit = Kit::new(json!({ "do": [{ "a": { "call": "a" } }] }), world);
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let error = ended(&handle, id).await.error.unwrap();
    assert_eq!((error.status, error.title.as_deref()), (500, Some("internal error")));
}

#[test]
fn what_is_noted_at_a_start_is_there_with_the_instance_or_not_at_all() {
    let note = crate::note::InstanceNote { description: Some("for tests".to_owned()), ..Default::default() };
    for crash in [Crash::Frozen, Crash::Unanswered] {
        let mut crashes = 0;
        for commits in 0.. {
            let journal = Arc::new(CrashJournal::new(commits, crash));
            let run = Kit { journal: journal.clone(), ..Kit::new(story(), world()) };
            let started = live(async {
                let handle = run.start().await;
                let start = Start { note: Some(note.clone()), ..keyed("order", json!({})) };
                tokio::select! {
                    biased;
                    started = handle.start(start) => Some(started.unwrap()),
                    () = journal.crashed() => None,
                }
            });
            live(async {
                let handle = kit(Arc::new(journal.reopen()), world()).start().await;
                let all = handle.instances(&InstanceFilter::default(), 10, None).unwrap().items;
                let notes: Vec<_> = all.iter().map(|summary| handle.notes().get(summary.id).unwrap()).collect();
                assert!(notes.iter().all(|found| *found == note), "{crash:?} after {commits}: {notes:?}");
                crashes += usize::from(started.is_none());
            });
            if started.is_some() {
                break;
            }
        }
        assert!(crashes > 0, "{crash:?}");
    }
}
