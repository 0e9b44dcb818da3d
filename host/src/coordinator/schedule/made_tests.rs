//! Schedules that people made, over a journal in memory and a clock that a test moves.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::watch;

use super::manage::{ScheduleError, ScheduleView};
use super::template::ScheduleTemplate;
use crate::clock::{Clock as _, SimClock};
use crate::coordinator::programs::Ordered;
use crate::coordinator::tests::{World, hangs, new_year};
use crate::coordinator::view::{InstanceFilter, InstanceSummary};
use crate::coordinator::{
    Coordinator, EventSettings, Handle, InstanceError, Parts, ProgramError, Programs, Resolved, StartError,
};
use crate::definition::graph::Program;
use crate::journal::Journal;
use crate::journal::faulty::{Crash, CrashJournal};
use crate::journal::memory::MemoryJournal;
use crate::machine::record::Created;
use crate::machine::testing::{Plain, program};
use crate::model::{Json, PackName, ScheduleName, ServiceName, TenantName, WorkflowName};
use crate::service::OrderError;

/// A workflow that ends at once, and the service `wash` for it, where it is switched on.
struct Shop {
    flow: Arc<Program>,
    off: std::sync::atomic::AtomicBool,
}

impl Programs for Shop {
    fn resolve(
        &self,
        _: &PackName,
        _: Option<&semver::Version>,
        workflow: &WorkflowName,
    ) -> Result<Resolved, ProgramError> {
        match workflow.as_str() {
            "flow" => Ok(Resolved { program: self.flow.clone(), version: semver::Version::new(1, 0, 0) }),
            other => Err(ProgramError::NotFound(format!("there is no workflow `{other}`"))),
        }
    }

    fn pinned(&self, _: &Created) -> Result<Arc<Program>, ProgramError> {
        Ok(self.flow.clone())
    }

    fn order(
        &self,
        _: &TenantName,
        service: &ServiceName,
        _: Option<&WorkflowName>,
        input: &Json,
    ) -> Result<Ordered, OrderError> {
        match service.as_str() {
            "wash" if self.off.load(std::sync::atomic::Ordering::Relaxed) => Err(OrderError::Disabled(service.clone())),
            "wash" => Ok(Ordered {
                pack: PackName::parse("test").unwrap(),
                version: semver::Version::new(1, 0, 0),
                workflow: WorkflowName::parse("flow").unwrap(),
                input: input.clone(),
            }),
            _ => Err(OrderError::NotFound(service.clone())),
        }
    }
}

/// What lives longer than a server.
struct Data {
    journal: Arc<dyn Journal>,
    clock: SimClock,
    shop: Arc<Shop>,
    closed: watch::Sender<BTreeSet<TenantName>>,
}

impl Data {
    fn new() -> Self {
        let schema = json!({ "schema": { "properties": { "size": { "type": "integer" } } } });
        let flow = Arc::new(program(json!({ "input": schema, "do": [{ "a": { "set": "${ . }" } }] })));
        let shop = Arc::new(Shop { flow, off: false.into() });
        Self {
            journal: Arc::new(MemoryJournal::new()),
            clock: SimClock::new(new_year()),
            shop,
            closed: watch::Sender::default(),
        }
    }

    async fn start(&self) -> Handle {
        let parts = Parts {
            programs: self.shop.clone(),
            journal: self.journal.clone(),
            clock: Arc::new(self.clock.clone()),
            perform: World::new(|_, _| hangs()),
            evaluator: Arc::new(Plain),
            random: Box::new(|| 0.5),
            attempts_max: 8,
            events: EventSettings::default(),
            closed: self.closed.subscribe(),
        };
        Coordinator::start(parts).await.unwrap()
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }
}

fn ours() -> TenantName {
    TenantName::parse("ours").unwrap()
}

fn after(seconds: i64) -> Timestamp {
    new_year() + SignedDuration::from_secs(seconds)
}

/// `{name: "wash", service: "wash"}` with these members.
fn template(members: Json) -> ScheduleTemplate {
    let mut all = json!({"name": "wash", "service": "wash"});
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    serde_json::from_value(all).unwrap()
}

async fn create(handle: &Handle, members: Json) -> Result<ScheduleView, ScheduleError> {
    handle.schedules().create(&ours(), "token:a", template(members)).await
}

async fn put(handle: &Handle, members: Json) -> ScheduleView {
    let name = ScheduleName::parse("wash").unwrap();
    handle.schedules().put(&ours(), "token:b", &name, template(members), None).await.unwrap().0
}

/// Waits until the schedule is so.
async fn is(handle: &Handle, is: impl Fn(&ScheduleView) -> bool) -> ScheduleView {
    loop {
        let view = handle.schedules().get(&ours(), "wash").unwrap();
        if is(&view) {
            return view;
        }
        tokio::task::yield_now().await;
    }
}

fn instances(handle: &Handle) -> Vec<InstanceSummary> {
    let filter = InstanceFilter { tenant: ours(), ..InstanceFilter::default() };
    let all: Result<_, InstanceError> = handle.instances(&filter, 100, None);
    let mut found = all.unwrap().items;
    found.reverse();
    found
}

#[tokio::test]
async fn one_that_fires_once_stays_as_done() {
    let data = Data::new();
    let handle = data.start().await;
    let made = create(&handle, json!({"at": after(60), "input": {"size": 1}})).await.unwrap();
    assert_eq!((made.next, made.done), (Some(after(60)), false));
    data.pass(59);
    assert_eq!(instances(&handle).len(), 0);
    data.pass(1);
    let done = is(&handle, |view| view.done).await;
    let all = instances(&handle);
    assert_eq!((all.len(), done.next, done.last.unwrap().instance), (1, None, Some(all[0].id)));
    let started = (&all[0].tenant, all[0].created_by.as_deref(), all[0].service.as_ref().map(ServiceName::as_str));
    assert_eq!(started, (&ours(), Some("token:a"), Some("wash")));
    assert_eq!((all[0].name.as_deref(), &all[0].input), (Some("wash"), &json!({"size": 1})));
    data.pass(3600);
    let again = put(&handle, json!({"at": after(60), "input": {"size": 2}})).await;
    assert!(again.done && again.revision == 2, "the same time does not come twice: {again:?}");
    let anew = put(&handle, json!({"at": after(7200)})).await;
    assert_eq!((anew.done, anew.next), (false, Some(after(7200))));
}

#[tokio::test]
async fn what_was_missed_is_caught_up_once_and_the_rhythm_goes_on() {
    for rhythm in [json!({"every": "PT1M"}), json!({"cron": "* * * * *", "timeZone": "Europe/Berlin"})] {
        let data = Data::new();
        let handle = data.start().await;
        create(&handle, rhythm.clone()).await.unwrap();
        handle.shutdown().await;
        data.pass(3600 + 30);
        let handle = data.start().await;
        is(&handle, |view| view.next == Some(after(3600 + 60))).await;
        assert_eq!(instances(&handle).len(), 1, "{rhythm}");
        data.pass(30);
        is(&handle, |view| view.next == Some(after(3600 + 120))).await;
        assert_eq!(instances(&handle).len(), 2, "{rhythm}");
    }
}

#[tokio::test]
async fn nothing_fires_while_the_tenant_is_disabled_and_what_was_missed_is_caught_up_once() {
    let data = Data::new();
    let handle = data.start().await;
    create(&handle, json!({"every": "PT1M"})).await.unwrap();
    data.closed.send_if_modified(|closed| closed.insert(ours()));
    data.pass(3600 + 30);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let refused = handle.schedules().run(&ours(), "wash", "token:a", None).await.unwrap_err();
    assert!(refused.to_string().contains("disabled"), "{refused}");
    assert_eq!((instances(&handle).len(), is(&handle, |_| true).await.next), (0, Some(after(60))));
    handle.shutdown().await;
    let handle = data.start().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(instances(&handle).len(), 0, "it is still disabled after a start");
    data.closed.send_if_modified(|closed| closed.remove(&ours()));
    is(&handle, |view| view.next == Some(after(3600 + 60))).await;
    assert_eq!(instances(&handle).len(), 1);
}

#[tokio::test]
async fn nothing_fires_while_it_is_switched_off_and_nothing_of_it_is_caught_up() {
    let data = Data::new();
    let handle = data.start().await;
    create(&handle, json!({"every": "PT1M"})).await.unwrap();
    let off = put(&handle, json!({"every": "PT1M", "enabled": false})).await;
    assert_eq!((off.enabled, off.next), (false, None));
    data.pass(3600);
    let on = put(&handle, json!({"every": "PT1M"})).await;
    assert_eq!((on.next, instances(&handle).len()), (Some(after(3660)), 0));
    put(&handle, json!({"every": null, "at": after(7200), "enabled": false})).await;
    data.pass(7200);
    let missed = put(&handle, json!({"at": after(7200)})).await;
    assert_eq!((missed.next, missed.done, instances(&handle).len()), (None, true, 0));
}

#[tokio::test]
async fn a_fire_that_starts_nothing_says_why_and_the_rhythm_goes_on() {
    let data = Data::new();
    let handle = data.start().await;
    create(&handle, json!({"every": "PT1M"})).await.unwrap();
    data.shop.off.store(true, std::sync::atomic::Ordering::Relaxed);
    data.pass(60);
    let view = is(&handle, |view| view.last.is_some()).await;
    assert!(view.last.unwrap().problem.unwrap().contains("switched off"));
    assert_eq!(view.next, Some(after(120)));
    data.shop.off.store(false, std::sync::atomic::Ordering::Relaxed);
    data.pass(60);
    let view = is(&handle, |view| view.next == Some(after(180))).await;
    assert_eq!((view.last.unwrap().problem, instances(&handle).len()), (None, 1));
}

#[tokio::test]
async fn run_now_starts_as_the_caller_s_and_leaves_the_times_alone() {
    let data = Data::new();
    let handle = data.start().await;
    let made = create(&handle, json!({"every": "PT1M", "enabled": false})).await.unwrap();
    let run = async |key: &str| handle.schedules().run(&ours(), "wash", "token:b", Some(key.to_owned())).await.unwrap();
    let (first, again) = (run("k").await, run("k").await);
    assert_eq!((first.summary.id, first.replayed, again.replayed), (again.summary.id, false, true));
    assert_eq!(first.summary.created_by.as_deref(), Some("token:b"));
    let view = handle.schedules().get(&ours(), "wash").unwrap();
    assert_eq!((view.last.unwrap().instance, view.next, view.revision), (Some(first.summary.id), made.next, 1));
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_leaves_nothing() {
    let data = Data::new();
    let handle = data.start().await;
    let refused = async |members: Json| create(&handle, members).await.unwrap_err();
    let every = |more: Json| {
        let mut members = json!({"every": "PT1M"});
        members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        members
    };
    let past = refused(json!({"at": after(-61)})).await;
    assert!(matches!(&past, ScheduleError::Invalid(wrong) if wrong[0].pointer == "/at"), "{past:?}");
    let unnamed = refused(every(json!({"name": null}))).await;
    assert!(matches!(&unnamed, ScheduleError::Invalid(wrong) if wrong[0].pointer == "/name"), "{unnamed:?}");
    assert!(matches!(refused(every(json!({"service": "x"}))).await, ScheduleError::Order(OrderError::NotFound(_))));
    let workflow = json!({"service": null, "pack": "test", "workflow": "none"});
    assert!(matches!(refused(every(workflow)).await, ScheduleError::Start(StartError::NotFound(_))));
    let input = json!({"service": null, "pack": "test", "workflow": "flow", "input": {"size": "x"}});
    assert!(matches!(refused(every(input)).await, ScheduleError::Start(StartError::InvalidInput(_))));
    assert!(handle.schedules().list(&ours()).unwrap().is_empty());
    create(&handle, every(json!({}))).await.unwrap();
    assert!(matches!(refused(every(json!({}))).await, ScheduleError::Exists(_)));
    let elsewhere = TenantName::parse("theirs").unwrap();
    assert!(handle.schedules().list(&elsewhere).unwrap().is_empty(), "it is in its tenant only");
    assert!(matches!(handle.schedules().delete(&ours(), "wash", Some(9)).await, Err(ScheduleError::Changed(_))));
    handle.schedules().delete(&ours(), "wash", Some(1)).await.unwrap();
    assert!(matches!(handle.schedules().get(&ours(), "wash"), Err(ScheduleError::NotFound(_))));
    data.pass(60);
    handle.shutdown().await;
    assert!(instances(&handle).is_empty());
}

/// One life of a server.
fn live<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

/// More lives no schedule needs for three fires.
const LIVES_MAX: usize = 100;

/// Lets a schedule fire while the server dies again and again: each life makes so many commits and no more. Gives the
/// times at which instances were started.
fn fired(rhythm: &Json, commits: u64, crash: Crash) -> Vec<Timestamp> {
    let memory = MemoryJournal::new();
    let mut data = Data { journal: Arc::new(memory.copy()), ..Data::new() };
    live(async {
        let handle = data.start().await;
        create(&handle, rhythm.clone()).await.unwrap();
        handle.shutdown().await;
    });
    let mut left = MemoryJournal::new();
    for row in data.journal.scan(crate::journal::Scan::prefix(Vec::new(), usize::MAX)).unwrap() {
        left.apply(crate::journal::Batch::default().put(row.key, row.value)).unwrap();
    }
    for _ in 0..LIVES_MAX {
        let journal = Arc::new(CrashJournal::over(&left, commits, crash));
        data = Data { journal: journal.clone(), ..data };
        let times = live(async {
            tokio::select! {
                biased;
                () = journal.crashed() => None,
                times = passed(&data) => Some(times),
            }
        });
        if let Some(times) = times {
            return times;
        }
        left = journal.reopen();
    }
    panic!("{rhythm} does not get on with {commits} commits in a life");
}

/// Lets 200 seconds pass, step by step, whenever the schedule waits for them.
async fn passed(data: &Data) -> Vec<Timestamp> {
    let handle = data.start().await;
    while data.clock.now() < after(200) {
        tokio::task::yield_now().await;
        let view = handle.schedules().get(&ours(), "wash").unwrap();
        if view.done || view.next.is_some_and(|next| next > data.clock.now()) {
            data.pass(5);
        }
    }
    instances(&handle).iter().map(|instance| instance.created_at).collect()
}

#[test]
fn each_time_starts_exactly_one_instance_although_the_server_dies_at_every_commit() {
    let three = [after(60), after(120), after(180)];
    for (rhythm, expected) in [
        (json!({"every": "PT1M"}), &three[..]),
        (json!({"cron": "* * * * *"}), &three[..]),
        (json!({"at": after(60)}), &three[..1]),
    ] {
        for crash in [Crash::Frozen, Crash::Unanswered] {
            // A life that makes no commit gets nowhere, unless the one that is never answered is durable.
            let least = u64::from(crash == Crash::Frozen);
            for commits in (least..least + 6).chain([u64::MAX]) {
                assert_eq!(fired(&rhythm, commits, crash), expected, "{rhythm}, {crash:?}, {commits} commits");
            }
        }
    }
}
