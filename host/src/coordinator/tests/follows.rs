//! Followers: history first, then what happens, without gap or duplicate; progress and logs on the way.

use jiff::SignedDuration;

use super::*;
use crate::capability::{LogLevel, Measure};

fn seqs(events: &[Arc<Common<Event>>]) -> Vec<u64> {
    let seq = |event: &Arc<Common<Event>>| match &***event {
        Event::Record { record, .. } => Some(record.seq),
        _ => None,
    };
    events.iter().filter_map(seq).collect()
}

#[tokio::test]
async fn a_follower_sees_each_record_once_wherever_it_comes_in() {
    let tasks: Vec<_> = (0..20).map(|n| json!({ format!("t{n}"): { "call": "a" } })).collect();
    let kit = Kit::new(json!({ "do": tasks }), World::echo());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let early = tokio::spawn(handle.follow(id, 0).unwrap().collect::<Vec<_>>());
    kit.world.called(10).await;
    let middle = tokio::spawn(handle.follow(id, 5).unwrap().collect::<Vec<_>>());
    let last = ended(&handle, id).await;
    assert_eq!(last.status, Status::Completed);
    let all = handle.history(id, 0, 1000).unwrap().len() as u64;
    assert_eq!(seqs(&early.await.unwrap()), (1..=all).collect::<Vec<_>>());
    assert_eq!(seqs(&middle.await.unwrap()), (6..=all).collect::<Vec<_>>());
    for after in [all - 1, all, all + 5] {
        let late: Vec<_> = handle.follow(id, after).unwrap().collect().await;
        assert_eq!(seqs(&late), (after + 1..=all).collect::<Vec<_>>(), "after {after}");
    }
}

#[tokio::test]
async fn a_slow_follower_reads_what_it_missed_from_the_journal() {
    let tasks: Vec<_> = (0..1200).map(|n| json!({ format!("t{n}"): { "call": "a" } })).collect();
    let kit = Kit::new(json!({ "do": tasks }), World::echo());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let mut slow = Box::pin(handle.follow(id, 0).unwrap());
    let mut seen: Vec<_> = slow.next().await.into_iter().collect();
    ended(&handle, id).await;
    while let Some(event) = slow.next().await {
        seen.push(event);
    }
    let all = handle.history(id, 0, 100_000).unwrap().len() as u64;
    assert!(all > EVENTS_BUFFERED as u64, "{all}: more than the broadcast keeps");
    assert_eq!(seqs(&seen), (1..=all).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_follower_of_all_is_told_that_it_missed_something() {
    let tasks: Vec<_> = (0..1200).map(|n| json!({ format!("t{n}"): { "call": "a" } })).collect();
    let kit = Kit::new(json!({ "do": tasks }), World::echo());
    let handle = kit.start().await;
    let mut slow = Box::pin(handle.subscribe(anybody()));
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    ended(&handle, id).await;
    assert!(matches!(slow.next().await, Some(Told::Missed)));
    assert!(matches!(slow.next().await, Some(Told::Event(_))), "it goes on with what is still there");
}

#[tokio::test]
async fn followers_share_an_event_and_large_records_are_not_read_far_ahead() {
    let large = "x".repeat(200 << 10);
    let tasks: Vec<_> = (0..6).map(|n| json!({ format!("t{n}"): { "set": { "large": large } } })).collect();
    let kit = Kit::new(json!({ "do": tasks }), World::echo());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let all = ended(&handle, id).await;
    assert_eq!(all.status, Status::Completed);
    let told: Vec<_> = handle.follow(id, 0).unwrap().collect().await;
    assert_eq!(seqs(&told).len(), handle.history(id, 0, 1000).unwrap().len(), "read in several parts, none is lost");
}

#[tokio::test]
async fn progress_is_told_at_most_ten_times_a_second_and_kept() {
    let clock = SimClock::new(new_year());
    let ticking = clock.clone();
    let world = World::new(move |_, observer| {
        for done in 0..100 {
            observer.progress(vec![Measure { unit: "objects".to_owned(), done, total: Some(100) }], None);
            ticking.advance(SignedDuration::from_millis(10));
        }
        observer.log(LogLevel::Warn, "done soon".to_owned());
        hangs()
    });
    let flow = json!({ "do": [{ "copy": { "call": "copy" } }] });
    let kit = Kit { clock: Arc::new(clock), ..Kit::new(flow, world) };
    let handle = kit.start().await;
    let mut events = Box::pin(handle.subscribe(anybody()));
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let mut told = 0;
    loop {
        let Told::Event(event) = events.next().await.unwrap() else { panic!("nothing was missed") };
        match &**event {
            Event::Progress { .. } => told += 1,
            Event::Log { line, .. } => break assert_eq!(line.message, "done soon"),
            Event::Record { .. } => {}
        }
    }
    assert_eq!(told, 10);
    let progress = handle.tasks(id).unwrap()[0].progress.clone().unwrap();
    assert_eq!(progress.measures[0].done, 99, "the newest is kept");
    assert_eq!(handle.logs(id).unwrap().len(), 1, "a running attempt's lines are told");
}

#[tokio::test]
async fn a_checkpoint_is_durable_before_the_action_goes_on() {
    let world = World::new(|_, observer| {
        async move {
            let small = observer.checkpoint(json!({ "at": 5 })).await;
            let large = observer.checkpoint(json!("x".repeat(2_000_000))).await;
            let secret = observer.secret_revealed("jira".to_owned()).await;
            Ok(Success { output: json!([small.is_ok(), large.is_err(), secret.is_ok()]), ..Success::default() })
        }
        .boxed()
    });
    let kit = Kit::new(json!({ "do": [{ "copy": { "call": "copy" } }] }), world);
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    assert_eq!(ended(&handle, id).await.output, Some(json!([true, true, true])));
    let history = handle.history(id, 0, 100).unwrap();
    assert!(history.iter().any(|stamped| matches!(&stamped.record, Record::Checkpoint { .. })));
}
