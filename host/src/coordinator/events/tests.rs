//! The inbox, the outbox and the sinks, over a journal in memory.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::offers::Offers;
use super::*;
use crate::clock::SimClock;
use crate::coordinator::tests::{JumpClock, Kit, World, anybody, ended, hangs, new_year, order};
use crate::journal::faulty::{Crash, CrashJournal};
use crate::journal::memory::MemoryJournal;
use crate::journal::{Scan, keys};
use crate::machine::record::ActivationId;

fn event(id: &str) -> Arc<Json> {
    Arc::new(json!({ "specversion": "1.0", "id": id, "source": "/test", "type": "t", "data": id }))
}

fn events(ids: &[&str]) -> Vec<Arc<Json>> {
    ids.iter().map(|id| event(id)).collect()
}

fn armed() -> [Stamped; 1] {
    let record = Record::Armed { activation: ActivationId(1), expects: Default::default() };
    [Stamped { seq: 1, at: new_year(), record }]
}

struct Room {
    journal: Arc<MemoryJournal>,
    clock: SimClock,
    events: Arc<Events>,
}

impl Room {
    async fn new() -> Self {
        Self::over(Arc::default(), SimClock::new(new_year())).await
    }

    async fn over(journal: Arc<MemoryJournal>, clock: SimClock) -> Self {
        let events = open(journal.clone(), &clock, Vec::new()).await;
        Self { journal, clock, events }
    }

    /// The same data after a restart.
    async fn again(self) -> Self {
        Self::over(self.journal, self.clock).await
    }

    async fn accept(&self, ids: &[&str]) -> (usize, usize) {
        let Accepted { accepted, duplicates } =
            self.events.accept(&TenantName::standard(), &events(ids)).await.unwrap();
        (accepted, duplicates)
    }

    fn rows(&self) -> [usize; 3] {
        [keys::events(), keys::event_ages(), b"d".to_vec()]
            .map(|prefix| self.journal.scan(Scan::prefix(prefix, 1000)).unwrap().len())
    }
}

async fn open(journal: Arc<dyn Journal>, clock: &SimClock, sinks: Vec<Url>) -> Arc<Events> {
    let settings = EventSettings { sinks, ..EventSettings::default() };
    Arc::new(Events::open(journal, Arc::new(clock.clone()), settings).await.unwrap())
}

/// The data of everything that is offered right now.
async fn offered(offers: &mut Offers) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        tokio::select! {
            biased;
            arrivals = offers.next(true) => {
                all.extend(arrivals.unwrap().iter().map(|arrival| arrival.event["data"].as_str().unwrap().to_owned()));
            }
            () = tokio::task::yield_now() => return all,
        }
    }
}

#[tokio::test]
async fn an_event_that_comes_again_is_dropped() {
    let room = Room::new().await;
    assert_eq!(room.accept(&["a", "b", "a"]).await, (2, 1));
    assert_eq!(room.accept(&["b", "c"]).await, (1, 1));
    let (one, other) = tokio::join!(room.accept(&["d"]), room.accept(&["d"]));
    assert_eq!(one.0 + other.0, 1, "one of two at the same time");
    let room = room.again().await;
    assert_eq!(room.accept(&["a", "b", "c", "d"]).await, (0, 4));
    assert_eq!(room.rows(), [4, 4, 4]);
}

#[tokio::test]
async fn an_event_may_come_before_its_listener_within_the_window() {
    let room = Room::new().await;
    room.accept(&["early"]).await;
    room.clock.advance(SignedDuration::from_mins(9));
    room.accept(&["later"]).await;
    assert_eq!(offered(&mut Offers::new(&room.events, &TenantName::standard())).await, ["early", "later"]);
    room.clock.advance(SignedDuration::from_mins(2));
    assert_eq!(offered(&mut Offers::new(&room.events, &TenantName::standard())).await, ["later"]);
}

#[tokio::test]
async fn who_begins_to_listen_is_offered_the_window_again_and_then_what_comes() {
    let room = Room::new().await;
    let mut offers = Offers::new(&room.events, &TenantName::standard());
    assert!(offered(&mut offers).await.is_empty());
    room.accept(&["a", "b"]).await;
    assert_eq!(offered(&mut offers).await, ["a", "b"]);
    assert!(offered(&mut offers).await.is_empty(), "once");
    offers.take(&armed());
    room.accept(&["c"]).await;
    assert_eq!(offered(&mut offers).await, ["a", "b", "c"]);
    offers.take(&[]);
    assert!(offered(&mut offers).await.is_empty());
}

#[tokio::test]
async fn nothing_is_offered_to_who_does_not_listen() {
    let room = Room::new().await;
    room.accept(&["a"]).await;
    let mut offers = Offers::new(&room.events, &TenantName::standard());
    tokio::select! {
        biased;
        arrivals = offers.next(false) => panic!("{arrivals:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(offered(&mut offers).await, ["a"], "later it is");
}

#[tokio::test]
async fn many_senders_at_once_lose_nothing_and_keep_one_order() {
    let room = Room::new().await;
    let senders = (0..100).map(|n| {
        let events = room.events.clone();
        tokio::spawn(async move { events.accept(&TenantName::standard(), &[event(&format!("{n}"))]).await.unwrap() })
    });
    let (mut one, mut other) =
        (Offers::new(&room.events, &TenantName::standard()), Offers::new(&room.events, &TenantName::standard()));
    let mut seen = Vec::new();
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
        seen.extend(offered(&mut one).await);
    }
    assert_eq!(seen.len(), 100, "pages are joined");
    assert_eq!(seen, offered(&mut other).await);
}

#[tokio::test]
async fn an_event_stored_just_before_a_crash_is_offered_after_it_however_late_that_is() {
    let clock = SimClock::new(new_year());
    for (crash, expected) in [(Crash::Unanswered, vec!["a"]), (Crash::Frozen, vec![])] {
        let journal = Arc::new(CrashJournal::new(0, crash));
        let events = open(journal.clone(), &clock, Vec::new()).await;
        let one = [event("a")];
        let own = TenantName::standard();
        tokio::select! {
            biased;
            _ = events.accept(&own, &one) => panic!("nobody is left to answer"),
            () = journal.crashed() => {}
        }
        clock.advance(SignedDuration::from_hours(5));
        let room = Room::over(Arc::new(journal.reopen()), clock.clone()).await;
        assert_eq!(offered(&mut Offers::recovered(&room.events, &TenantName::standard())).await, expected, "{crash:?}");
        assert!(
            offered(&mut Offers::new(&room.events, &TenantName::standard())).await.is_empty(),
            "for a new listener it is too old"
        );
        let due = room.events.prune_due().unwrap();
        assert!(due.is_none_or(|due| due >= clock.now() + RECOVERY), "it stays until everybody has looked");
        let again = room.accept(&["a"]).await;
        assert_eq!(again.0, 1 - expected.len(), "the sender may repeat it");
    }
}

#[tokio::test]
async fn what_is_emitted_is_stored_with_its_records_or_not_at_all() {
    let clock = SimClock::new(new_year());
    let commit = async |journal: Arc<dyn Journal>| {
        let events = open(journal, &clock, vec!["http://127.0.0.1:1/".parse().unwrap()]).await;
        let batch = Batch::default().put(b"record".to_vec(), "x".into());
        let told = Told { emitted: vec![event("a")], outgoing: vec![event("a")], ..Told::default() };
        events.commit(batch, told).await
    };
    for (crash, expected) in [(Crash::Unanswered, 1), (Crash::Frozen, 0)] {
        let journal = Arc::new(CrashJournal::new(1, crash)); // The first is the sink's row.
        tokio::select! {
            biased;
            _ = commit(journal.clone()) => panic!("nobody is left to answer"),
            () = journal.crashed() => {}
        }
        let rows = journal.reopen();
        for prefix in [b"record".to_vec(), keys::events(), keys::outbox(), b"d".to_vec()] {
            assert_eq!(rows.scan(Scan::prefix(prefix.clone(), 9)).unwrap().len(), expected, "{crash:?} {prefix:?}");
        }
    }
}

#[tokio::test]
async fn an_emitted_event_that_is_known_does_not_stop_its_instance() {
    let room = Room::new().await;
    room.accept(&["a"]).await;
    let told = Told { emitted: vec![event("a"), event("b")], ..Told::default() };
    room.events.commit(Batch::default().put(b"record".to_vec(), "x".into()), told).await.unwrap();
    assert_eq!(offered(&mut Offers::new(&room.events, &TenantName::standard())).await, ["a", "b"]);
    assert!(room.journal.get(b"record").unwrap().is_some());
    assert_eq!(room.accept(&["b"]).await, (0, 1));
}

#[tokio::test]
async fn what_is_too_old_goes_and_numbers_go_on() {
    let room = Room::new().await;
    assert_eq!(room.events.prune_due().unwrap(), None, "an empty inbox needs no timer");
    room.accept(&["a", "b"]).await;
    assert_eq!(room.events.prune_due().unwrap(), Some(new_year() + SignedDuration::from_mins(11)));
    room.clock.advance(SignedDuration::from_mins(11));
    room.accept(&["c"]).await;
    room.events.prune().await.unwrap();
    assert_eq!(room.rows(), [1, 3, 3], "the event goes first, what is known of it stays");
    assert_eq!(room.accept(&["a"]).await, (0, 1));
    room.clock.advance(SignedDuration::from_hours(25));
    room.events.prune().await.unwrap();
    assert_eq!(room.rows(), [0, 1, 1], "the newest is known for good: numbers go on after it");
    assert_eq!(room.events.prune_due().unwrap(), None, "nothing is left to be done");
    let room = room.again().await;
    assert_eq!(room.accept(&["d", "a"]).await, (2, 0));
    let (arrivals, reached) = room.events.read(&TenantName::standard(), 0, u64::MAX, Timestamp::MIN).unwrap();
    assert_eq!(arrivals.iter().map(|arrival| arrival.number).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(reached, u64::MAX);
}

#[tokio::test]
async fn a_full_inbox_takes_nothing_from_outside() {
    let room = Room::new().await;
    room.accept(&["a"]).await;
    room.journal.apply(move_to(&room.journal, inbox::EVENTS_MAX)).unwrap();
    let room = room.again().await;
    assert_eq!(room.events.accept(&TenantName::standard(), &events(&["b"])).await, Err(EventError::Full));
    room.clock.advance(SignedDuration::from_mins(11));
    room.events.prune().await.unwrap();
    assert_eq!(room.accept(&["b"]).await, (1, 0));
}

/// Gives the newest event another number, as if there had been many before.
fn move_to(journal: &MemoryJournal, number: u64) -> Batch {
    let age = journal.get(&keys::event_age(1)).unwrap().unwrap();
    Batch::default().put(keys::event_age(number), age)
}

/// A place that events are posted to. It answers with the statuses in turn, then with 204.
struct Mailbox {
    url: Url,
    posted: mpsc::UnboundedReceiver<(u16, Json)>,
}

impl Mailbox {
    async fn new(mut statuses: Vec<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap()).parse().unwrap();
        let (sender, posted) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let status = if statuses.is_empty() { 204 } else { statuses.remove(0) };
                let body = receive(&mut stream).await;
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = sender.send((status, body));
            }
        });
        Self { url, posted }
    }

    /// Waits for so many events to be taken; gives them with how often each was refused before.
    async fn taken(&mut self, count: usize) -> Vec<(usize, Json)> {
        let (mut taken, mut refused) = (Vec::new(), 0);
        while taken.len() < count {
            let (status, event) = self.posted.recv().await.unwrap();
            if status < 300 {
                taken.push((std::mem::take(&mut refused), event));
            } else {
                refused += 1;
            }
        }
        taken
    }
}

/// Reads one request and gives its body.
async fn receive(stream: &mut TcpStream) -> Json {
    let mut read = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.unwrap();
        read.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&read).to_string();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("POST /in HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/cloudevents+json; charset=utf-8"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= length.parse().unwrap() {
            return serde_json::from_str(body).unwrap();
        }
    }
}

fn flow() -> Json {
    json!({ "do": [{ "a": { "set": { "n": 1 } } }, { "b": { "call": "b" } }] })
}

fn kinds(taken: &[(usize, Json)]) -> Vec<&str> {
    taken
        .iter()
        .map(|(_, event)| {
            let kind = event["type"].as_str().unwrap();
            kind.strip_prefix("io.serverlessworkflow.").unwrap().strip_suffix(".v1").unwrap()
        })
        .collect()
}

const WHOLE: [&str; 8] = [
    "workflow.started",
    "task.created",
    "task.started",
    "task.completed",
    "task.created",
    "task.started",
    "task.completed",
    "workflow.completed",
];

#[tokio::test]
async fn a_sink_gets_everything_in_order_however_often_it_refuses() {
    let mut mailbox = Mailbox::new(vec![500, 503, 404, 204, 204, 500]).await;
    let journal = Arc::new(MemoryJournal::new());
    let settings = EventSettings { sinks: vec![mailbox.url.clone(); 2], ..EventSettings::default() };
    let clock = Arc::new(JumpClock::default());
    let kit = Kit { journal: journal.clone(), clock, events: settings, ..Kit::new(flow(), World::echo()) };
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    let taken = mailbox.taken(8).await;
    assert_eq!(kinds(&taken), WHOLE);
    assert_eq!(taken.iter().map(|(refused, _)| *refused).collect::<Vec<_>>(), [3, 0, 1, 0, 0, 0, 0, 0]);
    assert!(taken.iter().all(|(_, event)| event["subject"] == json!(id)));
    while !journal.scan(Scan::prefix(keys::outbox(), 9)).unwrap().is_empty() {
        tokio::task::yield_now().await; // It remembers how far it is, and what was sent goes.
    }
    assert!(mailbox.posted.try_recv().is_err(), "a URL that is given twice is one sink");
}

#[tokio::test]
async fn a_sink_that_was_away_gets_after_a_restart_what_it_missed() {
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}/in", away.local_addr().unwrap()).parse().unwrap();
    let settings = EventSettings { sinks: vec![url.clone()], ..EventSettings::default() };
    let kit = Kit { events: settings, ..Kit::new(flow(), World::echo()) };
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    ended(&handle, id).await;
    handle.shutdown().await;
    drop(away);
    let mut mailbox = Mailbox::new(Vec::new()).await;
    // The same rows under the URL that is served now.
    let row = |url: &Url| keys::sink(&Sha256::digest(url.as_str()).into());
    let sent = kit.journal.get(&row(&url)).unwrap().unwrap();
    kit.journal.commit(Batch::default().put(row(&mailbox.url), sent)).await.unwrap();
    let settings = EventSettings { sinks: vec![mailbox.url.clone()], ..EventSettings::default() };
    let _handle = Kit { events: settings, ..kit }.start().await;
    assert_eq!(kinds(&mailbox.taken(8).await), WHOLE);
}

#[tokio::test]
async fn without_a_sink_nothing_is_written_for_one() {
    let kit = Kit::new(flow(), World::echo());
    let handle = kit.start().await;
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    ended(&handle, id).await;
    for prefix in [keys::outbox(), keys::sinks(), keys::events(), keys::schedules()] {
        assert!(kit.journal.scan(Scan::prefix(prefix, 9)).unwrap().is_empty());
    }
}

#[tokio::test]
async fn followers_hear_of_instances_as_cloud_events() {
    use futures_util::StreamExt as _;
    let kit = Kit::new(flow(), World::new(|_, _| hangs()));
    let handle = kit.start().await;
    let told = handle.cloud_events(anybody());
    let id = handle.start(order(json!({}))).await.unwrap().summary.id;
    handle.cancel(id, None).await.unwrap();
    let told: Vec<_> = told
        .take(8)
        .map(|told| match told {
            crate::coordinator::Told::Event(event) => (0, Json::clone(&event)),
            crate::coordinator::Told::Missed => panic!("nothing was missed"),
        })
        .collect()
        .await;
    let end = ["task.created", "task.started", "task.cancelled", "workflow.cancelled"];
    assert_eq!(kinds(&told), [&WHOLE[..4], &end].concat());
}
