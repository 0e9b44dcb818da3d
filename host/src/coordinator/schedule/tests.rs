//! Schedules over a journal in memory and a clock that a test moves.

use std::sync::Mutex;

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::clock::{Clock as _, SimClock};
use crate::coordinator::events::cloud_event::CloudEvent;
use crate::coordinator::tests::{Kit, World, hangs, new_year};
use crate::coordinator::view::{InstanceFilter, InstanceSummary};
use crate::coordinator::{Coordinator, EventSettings, Handle, Parts, ProgramError, Programs, Resolved};
use crate::definition::graph::{
    Consume, Correlation, Expression, ExpressionId, Filter, Match, Read, Strategy, Template, Until,
};
use crate::journal::Journal;
use crate::journal::faulty::{Crash, CrashJournal};
use crate::journal::memory::MemoryJournal;
use crate::machine::record::Created;
use crate::machine::testing::{Plain, program};

/// One workflow with a schedule, or none.
#[derive(Default)]
struct Installed {
    scheduled: Mutex<Option<Scheduled>>,
    changes: watch::Sender<u64>,
}

impl Installed {
    /// A workflow that ends at once (`quick`), or calls and waits.
    fn install(&self, version: &str, text: &str, schedule: Schedule, quick: bool) {
        let task = if quick { json!({ "set": "${ . }" }) } else { json!({ "call": "a" }) };
        let mut program = program(json!({ "schedule": text, "do": [{ "a": task }] }));
        program.schedule = Some(schedule);
        let (pack, workflow) = place();
        let (version, program) = (version.parse().unwrap(), Arc::new(program));
        *self.scheduled.lock().unwrap() = Some(Scheduled { pack, version, workflow, program });
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn remove(&self) {
        *self.scheduled.lock().unwrap() = None;
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn found(&self) -> Result<Scheduled, ProgramError> {
        let scheduled = self.scheduled.lock().unwrap().clone();
        scheduled.ok_or_else(|| ProgramError::NotFound("nothing is installed".to_owned()))
    }
}

impl Programs for Installed {
    fn resolve(&self, _: &PackName, _: Option<&semver::Version>, _: &WorkflowName) -> Result<Resolved, ProgramError> {
        let Scheduled { program, version, .. } = self.found()?;
        Ok(Resolved { program, version })
    }

    fn pinned(&self, _: &Created) -> Result<Arc<Program>, ProgramError> {
        Ok(self.found()?.program)
    }

    fn scheduled(&self) -> Vec<Scheduled> {
        self.found().into_iter().collect()
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.changes.subscribe())
    }
}

fn place() -> Place {
    (PackName::parse("test").unwrap(), WorkflowName::parse("flow").unwrap())
}

/// What lives longer than a server.
struct Data {
    journal: Arc<dyn Journal>,
    clock: SimClock,
    installed: Arc<Installed>,
    world: Arc<World>,
}

impl Data {
    fn new(text: &str, schedule: Schedule, quick: bool) -> Self {
        let installed = Arc::new(Installed::default());
        installed.install("1.0.0", text, schedule, quick);
        let world = World::new(|_, _| hangs());
        Self { journal: Arc::new(MemoryJournal::new()), clock: SimClock::new(new_year()), installed, world }
    }

    async fn start(&self) -> Handle {
        let parts = Parts {
            programs: self.installed.clone(),
            journal: self.journal.clone(),
            clock: Arc::new(self.clock.clone()),
            perform: self.world.clone(),
            evaluator: Arc::new(Plain),
            random: Box::new(|| 0.5),
            attempts_max: 8,
            events: EventSettings::default(),
            closed: crate::coordinator::none_closed(),
        };
        let handle = Coordinator::start(parts).await.unwrap();
        // The scheduler has looked at what is installed once its row is there.
        self.row(|row| row.is_some()).await;
        handle
    }

    fn stored(&self) -> Option<ScheduleRow> {
        let (pack, workflow) = place();
        self.journal.get(&keys::schedule(&pack, &workflow)).unwrap().map(|bytes| row::decode(&bytes).unwrap())
    }

    /// Waits until the row is so.
    async fn row(&self, is: impl Fn(Option<&ScheduleRow>) -> bool) -> Option<ScheduleRow> {
        loop {
            let row = self.stored();
            if is(row.as_ref()) {
                return row;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn due_at(&self, due: Timestamp) {
        self.row(|row| row.is_some_and(|row| row.due == Some(due))).await;
    }
}

#[test]
fn a_stored_row_is_read_as_it_was_written() {
    let stored = json!({
        "version": "1.0.0", "schedule": { "on": {} }, "due": "2026-01-01T00:00:00Z",
        "running": "0199c1f0-0000-7000-8000-000000000000", "seen": 7,
        "held": [{ "filter": 0, "value": 1 }, { "filter": 1, "until": true, "value": null }],
    });
    let read: ScheduleRow = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), stored);
    let least = json!({ "version": "1.0.0", "schedule": {} });
    assert!(serde_json::from_value::<ScheduleRow>(least).is_ok(), "members that came later have defaults");
}

fn after(seconds: i64) -> Timestamp {
    new_year() + SignedDuration::from_secs(seconds)
}

fn every(seconds: i64) -> Schedule {
    Schedule::Every(SignedDuration::from_secs(seconds))
}

fn instances(handle: &Handle) -> Vec<InstanceSummary> {
    let mut found = handle.instances(&InstanceFilter::default(), 100, None).unwrap().items;
    found.reverse();
    found
}

#[tokio::test]
async fn every_fires_although_the_last_run_has_not_ended() {
    let data = Data::new("every minute", every(60), false);
    let handle = data.start().await;
    for round in 1..=3 {
        data.due_at(after(60 * round)).await;
        assert_eq!(instances(&handle).len() as i64, round - 1);
        data.clock.advance(SignedDuration::from_secs(60));
    }
    data.due_at(after(240)).await;
    let all = instances(&handle);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|instance| !instance.status.is_final() && instance.input == json!({})));
}

#[tokio::test]
async fn what_was_missed_is_caught_up_once_and_the_rhythm_goes_on() {
    for (schedule, text) in [(every(60), "every"), (Schedule::Cron("* * * * *".to_owned()), "cron")] {
        let data = Data::new(text, schedule, true);
        data.start().await.shutdown().await;
        data.clock.advance(SignedDuration::from_secs(3600 + 30));
        let handle = data.start().await;
        data.due_at(after(3600 + 60)).await;
        assert_eq!(instances(&handle).len(), 1, "{text}");
        data.clock.advance(SignedDuration::from_secs(30));
        data.due_at(after(3600 + 120)).await;
        assert_eq!(instances(&handle).len(), 2, "{text}");
    }
}

#[test]
fn no_crash_fires_twice_or_never() {
    for crash in [Crash::Frozen, Crash::Unanswered] {
        for commits in 0..12 {
            let memory = MemoryJournal::new();
            let journal = Arc::new(CrashJournal::over(&memory, commits, crash));
            let first = Data { journal: journal.clone(), ..Data::new("every", every(60), true) };
            live(async {
                let story = async {
                    let _handle = first.start().await;
                    for round in 1..=3 {
                        data_due(&first, 60 * round).await;
                    }
                };
                tokio::select! {
                    biased;
                    () = journal.crashed() => {}
                    () = story => {}
                }
            });
            let began = first.stored().is_some();
            let second = Data { journal: Arc::new(journal.reopen()), ..first };
            live(async {
                let handle = second.start().await;
                let due = second.stored().unwrap().due.unwrap();
                second.row(|row| row.unwrap().due.unwrap() > second.clock.now()).await;
                let fired = instances(&handle).len();
                let passed = (second.clock.now() - new_year()).get_seconds();
                // Each minute that passed has fired once: none while the server was away for several.
                let expected = if began { passed / 60 } else { 0 };
                assert_eq!(fired as i64, expected, "{crash:?} after {commits} commits, due {due}");
            });
        }
    }
}

/// Moves the clock when the fire of `seconds` is the next one.
async fn data_due(data: &Data, seconds: i64) {
    data.due_at(after(seconds)).await;
    data.clock.advance(after(seconds).duration_since(data.clock.now()));
    data.due_at(after(seconds + 60)).await;
}

/// One life of a server.
fn live<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

#[tokio::test]
async fn after_waits_for_the_end_of_the_last_run() {
    let data = Data::new("after", Schedule::After(SignedDuration::from_secs(10)), false);
    let handle = data.start().await;
    data.due_at(after(10)).await;
    data.clock.advance(SignedDuration::from_secs(10));
    let running = data.row(|row| row.unwrap().running.is_some()).await.unwrap();
    assert_eq!(running.due, None);
    data.clock.advance(SignedDuration::from_secs(100));
    assert_eq!(instances(&handle).len(), 1);
    handle.shutdown().await;
    let handle = data.start().await;
    handle.cancel(running.running.unwrap(), None).await.unwrap();
    data.due_at(after(120)).await;
    data.clock.advance(SignedDuration::from_secs(10));
    data.row(|row| row.unwrap().running.is_some_and(|other| Some(other) != running.running)).await;
    assert_eq!(instances(&handle).len(), 2);
}

#[tokio::test]
async fn after_goes_on_when_a_run_that_cannot_be_taken_up_is_deleted() {
    let data = Data::new("after", Schedule::After(SignedDuration::from_secs(10)), false);
    let handle = data.start().await;
    data.due_at(after(10)).await;
    data.clock.advance(SignedDuration::from_secs(10));
    let running = data.row(|row| row.unwrap().running.is_some()).await.unwrap().running.unwrap();
    handle.shutdown().await;
    data.journal.commit(Batch::default().put(keys::records(running, 1), "?".into())).await.unwrap();
    let handle = data.start().await;
    handle.delete(running).await.unwrap();
    data.due_at(after(20)).await;
    data.clock.advance(SignedDuration::from_secs(10));
    data.row(|row| row.unwrap().running.is_some_and(|other| other != running)).await;
}

/// Lets a schedule fire while the server dies again and again: each life makes so many appends and no more. Gives the
/// times at which instances were started.
fn fired(text: &str, schedule: Schedule, quick: bool, appends: u64, crash: Crash) -> Vec<Timestamp> {
    let (mut data, mut left) = (Data::new(text, schedule, quick), MemoryJournal::new());
    for _ in 0..LIVES_MAX {
        let journal = Arc::new(CrashJournal::over(&left, appends, crash));
        data = Data { journal: journal.clone(), ..data };
        let times = live(async {
            tokio::select! {
                biased;
                () = journal.crashed() => None,
                times = passed(&data, after(200)) => Some(times),
            }
        });
        if let Some(times) = times {
            return times;
        }
        left = journal.reopen();
    }
    panic!("{text} does not get on with {appends} appends in a life");
}

/// More lives no schedule needs for three fires.
const LIVES_MAX: usize = 100;

/// Lets time pass, step by step, whenever the schedule waits for it; what runs is cancelled.
async fn passed(data: &Data, end: Timestamp) -> Vec<Timestamp> {
    let handle = data.start().await;
    while data.clock.now() < end {
        for instance in instances(&handle).into_iter().filter(|instance| !instance.status.is_final()) {
            let _ = handle.cancel(instance.id, None).await;
        }
        tokio::task::yield_now().await;
        if data.stored().is_some_and(|row| row.due.is_some_and(|due| due > data.clock.now())) {
            data.clock.advance(SignedDuration::from_secs(5));
        }
    }
    let mut times: Vec<_> = instances(&handle).iter().map(|instance| instance.created_at).collect();
    times.sort();
    times
}

#[test]
fn no_kind_of_schedule_fires_twice_or_never_although_the_server_dies_at_every_append() {
    for crash in [Crash::Frozen, Crash::Unanswered] {
        for (text, schedule, quick) in [
            ("every", every as fn(i64) -> Schedule, true),
            ("every, long", every, false),
            ("cron", |_| Schedule::Cron("* * * * *".to_owned()), true),
            ("after", |seconds| Schedule::After(SignedDuration::from_secs(seconds)), true),
            ("after, long", |seconds| Schedule::After(SignedDuration::from_secs(seconds)), false),
        ] {
            let undisturbed = fired(text, schedule(60), quick, u64::MAX, crash);
            assert_eq!(undisturbed.len(), 3, "{text}: {undisturbed:?}");
            // A life that makes no append gets nowhere, unless the one that is never answered is durable; and whoever runs
            // begins each life with an append.
            let least = u64::from(crash == Crash::Frozen) + if quick { 0 } else { 3 };
            for appends in least..least + 5 {
                let fired = fired(text, schedule(60), quick, appends, crash);
                assert_eq!(fired, undisturbed, "{text}, {crash:?}, {appends} appends in a life");
            }
        }
    }
}

#[tokio::test]
async fn a_rhythm_and_a_pause_that_were_missed_are_caught_up_by_one_fire() {
    let check = async |text: &str, schedule: Schedule, next: i64| {
        let data = Data::new(text, schedule, true);
        data.start().await.shutdown().await;
        data.clock.advance(SignedDuration::from_secs(1000));
        let handle = data.start().await;
        data.due_at(after(next)).await;
        let fired: Vec<_> = instances(&handle).iter().map(|instance| instance.created_at).collect();
        assert_eq!(fired, [after(1000)], "{text}");
    };
    check("every", every(60), 1020).await;
    check("cron", Schedule::Cron("* * * * *".to_owned()), 1020).await;
    check("after", Schedule::After(SignedDuration::from_secs(60)), 1060).await;
}

#[tokio::test]
async fn after_goes_on_where_the_run_ended_while_nobody_looked() {
    let data = Data::new("after", Schedule::After(SignedDuration::from_secs(10)), true);
    let handle = data.start().await;
    data.clock.advance(SignedDuration::from_secs(10));
    data.due_at(after(20)).await;
    assert_eq!(instances(&handle).len(), 1);
}

#[tokio::test]
async fn only_what_is_installed_fires_and_an_upgrade_keeps_the_rhythm() {
    let data = Data::new("every", every(60), true);
    let handle = data.start().await;
    data.clock.advance(SignedDuration::from_secs(30));
    data.installed.install("1.1.0", "every", every(60), true);
    let row = data.row(|row| row.is_some_and(|row| row.version.minor == 1)).await.unwrap();
    assert_eq!(row.due, Some(after(60)), "the same schedule");
    data.installed.install("1.2.0", "often", every(20), true);
    data.due_at(after(50)).await;
    data.clock.advance(SignedDuration::from_secs(20));
    data.due_at(after(70)).await;
    assert_eq!(instances(&handle)[0].pack_version, semver::Version::new(1, 2, 0));
    data.installed.remove();
    data.row(|row| row.is_none()).await;
    data.clock.advance(SignedDuration::from_hours(1));
    tokio::task::yield_now().await;
    assert_eq!(instances(&handle).len(), 1);
}

#[tokio::test]
async fn a_schedule_that_went_while_the_server_was_down_is_forgotten() {
    let data = Data::new("every", every(60), true);
    data.start().await.shutdown().await;
    data.installed.remove();
    let kit =
        Kit { journal: data.journal.clone(), ..Kit::new(json!({ "do": [{ "a": { "call": "a" } }] }), World::echo()) };
    let _handle = kit.start().await;
    data.row(|row| row.is_none()).await;
}

fn filter(kind: &str) -> Filter {
    Filter { with: vec![("type".to_owned(), Match::Equals(kind.into()))], correlate: Vec::new() }
}

fn on(kind: Consume, filters: &[&str], until: Option<Until>) -> Schedule {
    let filters = filters.iter().map(|kind| filter(kind)).collect();
    Schedule::On(Strategy { kind, filters, until }, Read::Data)
}

/// Sends events, each `type-data`.
async fn send(handle: &Handle, events: &[&str]) {
    let event = |text: &&str| {
        let (kind, data) = text.split_once('-').unwrap();
        CloudEvent::structured(json!({ "specversion": "1.0", "id": text, "source": "/", "type": kind, "data": data }))
            .unwrap()
    };
    handle.take_events(&TenantName::standard(), events.iter().map(event).collect()).await.unwrap();
}

/// Waits for so many instances and gives their inputs.
async fn inputs(handle: &Handle, count: usize) -> Vec<Json> {
    while instances(handle).len() < count {
        tokio::task::yield_now().await;
    }
    instances(handle).into_iter().map(|instance| instance.input).collect()
}

#[tokio::test]
async fn events_start_instances_with_their_array_as_input() {
    let check = async |schedule: Schedule, events: &[&str], expected: Json| {
        let text = format!("{schedule:?}");
        let data = Data::new(&text, schedule, true);
        let handle = data.start().await;
        send(&handle, events).await;
        let found = inputs(&handle, expected.as_array().unwrap().len()).await;
        assert_eq!(Json::from(found), expected, "{text}");
    };
    let (one, any, all) = (Consume::One, Consume::Any, Consume::All);
    check(on(one, &["a"], None), &["b-1", "a-2", "a-3"], json!([["2"], ["3"]])).await;
    check(on(any, &["a", "b"], None), &["b-1", "c-2", "a-3"], json!([["1"], ["3"]])).await;
    check(on(any, &[], None), &["b-1"], json!([["1"]])).await;
    check(on(all, &["a", "b"], None), &["b-1", "b-2", "a-3", "a-4", "b-5"], json!([["1", "3"], ["4", "5"]])).await;
    let until = Strategy { kind: Consume::One, filters: vec![filter("end")], until: None };
    let until = Some(Until::Events(Box::new(until)));
    check(on(any, &["a"], until), &["a-1", "b-2", "a-3", "end-4"], json!([["1", "3"]])).await;
}

#[tokio::test]
async fn events_that_belong_together_start_an_instance_together() {
    let data = Data::new("on", every(60), true);
    let mut program = program(json!({ "schedule": "together", "do": [{ "a": { "set": "${ . }" } }] }));
    let from = ExpressionId(program.expressions.len() as u32);
    let (text, pointer) = (".data".to_owned(), "/schedule".to_owned());
    program.expressions.push(Expression { text, pointer, variables: Vec::new(), path: None });
    let correlation = |expect| Correlation { key: "k".to_owned(), from, expect };
    let with = |kind, expect| Filter { correlate: vec![correlation(expect)], ..filter(kind) };
    let filters = vec![with("a", None), with("b", None), with("c", Some(Template::Literal("7".into())))];
    program.schedule = Some(Schedule::On(Strategy { kind: Consume::All, filters, until: None }, Read::Data));
    let (pack, workflow) = place();
    let (version, program) = (semver::Version::new(1, 0, 0), Arc::new(program));
    *data.installed.scheduled.lock().unwrap() = Some(Scheduled { pack, version, workflow, program });
    let handle = data.start().await;
    send(&handle, &["a-7", "b-8", "c-8", "b-7", "c-7"]).await;
    assert_eq!(inputs(&handle, 1).await, [json!(["7", "7", "7"])]);
}

#[tokio::test]
async fn events_that_wait_for_others_survive_a_restart_and_start_once() {
    let data = Data::new("on", on(Consume::All, &["a", "b"], None), true);
    let handle = data.start().await;
    send(&handle, &["a-1"]).await;
    data.row(|row| row.unwrap().held.len() == 1).await;
    handle.shutdown().await;
    data.clock.advance(SignedDuration::from_hours(2));
    let handle = data.start().await;
    send(&handle, &["b-2"]).await;
    assert_eq!(inputs(&handle, 1).await, [json!(["1", "2"])]);
    data.row(|row| row.unwrap().held.is_empty()).await;
    handle.shutdown().await;
    data.clock.advance(SignedDuration::from_secs(1)); // Instances are listed in order of time.
    let handle = data.start().await;
    send(&handle, &["a-3", "b-4"]).await;
    assert_eq!(inputs(&handle, 2).await, [json!(["1", "2"]), json!(["3", "4"])]);
}

#[test]
fn an_event_starts_one_instance_whichever_write_crashes() {
    for crash in [Crash::Frozen, Crash::Unanswered] {
        for commits in 0..5 {
            let journal = Arc::new(CrashJournal::new(commits, crash));
            let first = Data { journal: journal.clone(), ..Data::new("on", on(Consume::One, &["a"], None), true) };
            live(async {
                let story = async {
                    let handle = first.start().await;
                    send(&handle, &["b-0", "a-1"]).await;
                    inputs(&handle, 1).await;
                    first.row(|row| row.unwrap().seen == 2).await;
                };
                tokio::select! {
                    biased;
                    () = journal.crashed() => {}
                    () = story => {}
                }
            });
            let second = Data { journal: Arc::new(journal.reopen()), ..first };
            live(async {
                let handle = second.start().await;
                send(&handle, &["b-0", "a-1"]).await;
                assert_eq!(inputs(&handle, 1).await, [json!(["1"])], "{crash:?} after {commits} commits");
                second.row(|row| row.unwrap().seen == 2).await;
                assert_eq!(instances(&handle).len(), 1);
            });
        }
    }
}
