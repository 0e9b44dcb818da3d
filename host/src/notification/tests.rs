//! Notifications over a journal in memory, with a clock that stands still.

use std::sync::Arc;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::clock::SimClock;
use crate::journal::memory::MemoryJournal;
use crate::journal::row;

struct Scene {
    journal: Arc<MemoryJournal>,
    clock: SimClock,
    notifications: Arc<Notifications>,
}

impl Scene {
    fn new() -> Self {
        let journal = Arc::new(MemoryJournal::new());
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let notifications = Notifications::open(journal.clone(), Arc::new(clock.clone())).unwrap();
        Self { journal, clock, notifications }
    }

    async fn post(&self, new: New) -> Posted {
        self.notifications.post(new).await.unwrap()
    }

    fn titles(&self, reader: &Reader, filter: &Filter) -> Vec<String> {
        let page = self.notifications.list(reader, filter, 100, None).unwrap();
        page.items.into_iter().map(|view| view.notification.title).collect()
    }
}

fn entity(text: &str) -> EntityRef {
    EntityRef::parse(text).unwrap()
}

fn reader(user: &str, groups: &[&str]) -> Reader {
    Reader { user: Some(entity(user)), groups: groups.iter().map(|group| entity(group)).collect() }
}

fn new(title: &str, recipients: &[&str]) -> New {
    New {
        origin: "api".to_owned(),
        recipients: match recipients {
            [] => Recipients::Broadcast,
            names => Recipients::entities(names.iter().map(|name| entity(name))),
        },
        title: title.to_owned(),
        description: None,
        link: None,
        severity: Severity::Normal,
        topic: None,
        scope: None,
        repeat_key: None,
    }
}

#[tokio::test]
async fn a_person_sees_broadcasts_and_what_is_for_her_and_her_groups() {
    let scene = Scene::new();
    for notification in
        [new("all", &[]), new("ann", &["user:default/ann"]), new("bob", &["user:bob"]), new("ops", &["group:ops"])]
    {
        scene.post(notification).await;
    }
    let any = Filter::default();
    assert_eq!(scene.titles(&reader("user:ann", &["group:ops"]), &any), ["ops", "ann", "all"]);
    assert_eq!(scene.titles(&reader("user:bob", &[]), &any), ["bob", "all"]);
    assert_eq!(scene.titles(&Reader::default(), &any).len(), 4, "nobody in particular sees everything");
    let bobs = scene.notifications.list(&Reader::default(), &any, 4, None).unwrap().items[1].notification.id;
    let view = scene.notifications.view(&reader("user:ann", &[]), bobs);
    assert!(matches!(view, Err(NotificationError::NotFound(_))), "it is not hers");
}

#[tokio::test]
async fn each_filter_leaves_out_what_does_not_fit() {
    let scene = Scene::new();
    let disk = New { severity: Severity::High, topic: Some("disks".to_owned()), ..new("Disk full", &[]) };
    scene.post(disk).await;
    scene.clock.advance(SignedDuration::from_hours(1));
    scene.post(New { description: Some("the DISK is fine".to_owned()), ..new("Backup", &[]) }).await;
    let nobody = Reader::default();
    let check = |filter: Filter, expected: &[&str]| assert_eq!(scene.titles(&nobody, &filter), expected, "{filter:?}");
    let filter = Filter::default;
    check(Filter { severity: Some(Severity::High), ..filter() }, &["Disk full"]);
    check(Filter { severity: Some(Severity::Low), ..filter() }, &["Backup", "Disk full"]);
    check(Filter { topic: Some("disks".to_owned()), ..filter() }, &["Disk full"]);
    check(Filter { since: Some("2026-01-01T00:30:00Z".parse().unwrap()), ..filter() }, &["Backup"]);
    check(Filter { search: Some("disk".to_owned()), ..filter() }, &["Backup", "Disk full"]);
    check(Filter { search: Some("nothing".to_owned()), ..filter() }, &[]);
}

#[tokio::test]
async fn marks_are_each_person_s_own() {
    let scene = Scene::new();
    let id = scene.post(new("all", &[])).await.notification.id;
    let (ann, bob) = (reader("user:ann", &[]), reader("user:bob", &[]));
    let marked = scene.notifications.mark(&[id], &ann, Some(true), Some(true)).await.unwrap();
    assert!(marked[0].read.is_some() && marked[0].saved.is_some());
    let counts = |reader| scene.notifications.counts(reader).unwrap();
    assert_eq!(counts(&ann), Counts { unread: 0, read: 1, saved: 1 });
    assert_eq!(counts(&bob), Counts { unread: 1, read: 0, saved: 0 });
    assert!(scene.titles(&ann, &Filter { read: Some(false), ..Filter::default() }).is_empty());
    scene.notifications.mark(&[id], &ann, Some(false), None).await.unwrap();
    assert_eq!(counts(&ann), Counts { unread: 1, read: 0, saved: 1 });
    let gone = scene.notifications.mark(&[id, Uuid::nil()], &bob, Some(true), None).await;
    assert!(matches!(gone, Err(NotificationError::NotFound(_))));
    assert_eq!(counts(&bob).read, 0, "one that is not there marks none");
}

#[tokio::test]
async fn a_scope_is_one_notification_that_is_unread_again_when_it_changes() {
    let scene = Scene::new();
    let scoped = |title: &str| New { scope: Some("disk-7".to_owned()), ..new(title, &[]) };
    let first = scene.post(scoped("90 %")).await;
    scene.post(new("other", &[])).await;
    let ann = reader("user:ann", &[]);
    scene.notifications.mark(&[first.notification.id], &ann, Some(true), None).await.unwrap();
    let same = scene.post(scoped("90 %")).await;
    assert!(same.updated);
    assert_eq!(scene.notifications.counts(&ann).unwrap().read, 1, "nothing has changed");
    let changed = scene.post(scoped("95 %")).await;
    assert_eq!((changed.updated, changed.notification.id), (true, first.notification.id));
    assert_eq!(scene.notifications.counts(&ann).unwrap().read, 0);
    assert_eq!(scene.titles(&ann, &Filter::default()), ["95 %", "other"], "it is the newest again");
    let elsewhere = New { origin: "pack:x".to_owned(), ..scoped("mine") };
    assert!(!scene.post(elsewhere).await.updated, "another sender's scope is another one");
}

#[tokio::test]
async fn a_repeat_finds_what_was_posted_first_also_after_a_restart() {
    let scene = Scene::new();
    let repeated = || New { repeat_key: Some("key-1".to_owned()), ..new("a", &[]) };
    let first = scene.post(repeated()).await;
    let again = Notifications::open(scene.journal.clone(), Arc::new(scene.clock.clone())).unwrap();
    let second = again.post(repeated()).await.unwrap();
    assert_eq!((second.updated, second.notification.id), (true, first.notification.id));
    assert_eq!(again.post(new("b", &[])).await.unwrap().notification.number, 2);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap() {
    let scene = Scene::new();
    for number in 0..7 {
        scene.post(new(&number.to_string(), &[])).await;
    }
    let (mut titles, mut cursor) = (Vec::new(), None);
    loop {
        let page = scene.notifications.list(&Reader::default(), &Filter::default(), 3, cursor.as_deref()).unwrap();
        titles.extend(page.items.into_iter().map(|view| view.notification.title));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(titles, ["6", "5", "4", "3", "2", "1", "0"]);
    let bad = scene.notifications.list(&Reader::default(), &Filter::default(), 3, Some("x"));
    assert!(matches!(bad, Err(NotificationError::BadCursor)));
}

#[tokio::test]
async fn what_is_too_old_goes_with_everybody_s_marks() {
    let scene = Scene::new();
    let id = scene.post(New { scope: Some("s".to_owned()), ..new("old", &[]) }).await.notification.id;
    scene.notifications.mark(&[id], &reader("user:ann", &[]), Some(true), None).await.unwrap();
    scene.clock.advance(SignedDuration::from_hours(24 * KEPT_DAYS + 1));
    scene.post(new("new", &[])).await;
    assert_eq!(scene.titles(&Reader::default(), &Filter::default()), ["new"]);
    let left = crate::journal::Journal::scan(&*scene.journal, crate::journal::Scan::prefix(vec![b'u'], 100)).unwrap();
    assert_eq!(left.len(), 2, "the new one and its number: {left:?}");
    let id =
        scene.notifications.list(&Reader::default(), &Filter::default(), 1, None).unwrap().items[0].notification.id;
    scene.notifications.delete(id).await.unwrap();
    assert!(matches!(scene.notifications.delete(id).await, Err(NotificationError::NotFound(_))));
}

#[tokio::test]
async fn a_follower_hears_what_is_for_her_and_comes_back_without_gap() {
    let scene = Scene::new();
    scene.post(new("before", &[])).await;
    let mut live = Box::pin(scene.notifications.follow(reader("user:ann", &[]), None));
    let mut back = Box::pin(scene.notifications.follow(reader("user:ann", &[]), Some(0)));
    scene.post(new("bob", &["user:bob"])).await;
    scene.post(new("ann", &["user:ann"])).await;
    assert_eq!(live.next().await.unwrap().title, "ann");
    assert_eq!(back.next().await.unwrap().title, "before");
    assert_eq!(back.next().await.unwrap().title, "ann");
}

#[tokio::test]
async fn what_was_told_under_a_key_is_known_for_a_day() {
    let scene = Scene::new();
    let delivery = |channel: &str, id: &str| Delivery {
        channel: channel.to_owned(),
        id: Some(id.to_owned()),
        digest: "d".to_owned(),
    };
    let notifications = &scene.notifications;
    notifications.delivered("k", delivery("mail", "1")).await.unwrap();
    scene.clock.advance(SignedDuration::from_hours(1));
    notifications.delivered("k", delivery("inbox", "2")).await.unwrap();
    notifications.delivered("k", delivery("mail", "3")).await.unwrap();
    assert_eq!(notifications.deliveries("k").unwrap(), [delivery("inbox", "2"), delivery("mail", "3")]);
    assert!(notifications.deliveries("other").unwrap().is_empty());
    scene.clock.advance(SignedDuration::from_hours(KEY_HOURS));
    assert!(notifications.deliveries("k").unwrap().is_empty(), "counted from the first time");
    notifications.delivered("k2", delivery("mail", "4")).await.unwrap();
    let left = crate::journal::Journal::scan(&*scene.journal, crate::journal::Scan::prefix(vec![b'u'], 100)).unwrap();
    assert_eq!(left.len(), 2, "the old key is gone: {left:?}");
    assert!(notifications.delivered("", delivery("mail", "1")).await.is_err());
}

#[test]
fn a_notification_that_breaks_a_rule_is_refused_at_its_member() {
    let check = |new: New, expected: Option<&str>| {
        let member = match new.check() {
            Ok(()) => None,
            Err(NotificationError::Invalid { member, .. }) => Some(member),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(member, expected, "{new:?}");
    };
    let link = |link: &str| New { link: Some(link.to_owned()), ..new("a", &[]) };
    check(new("a", &[]), None);
    check(new("", &[]), Some("title"));
    check(new("a\nb", &[]), Some("title"));
    check(New { description: Some("x".repeat(4_001)), ..new("a", &[]) }, Some("description"));
    check(New { recipients: Recipients::entities([]), ..new("a", &[]) }, Some("recipients"));
    check(link("https://a.example/x"), None);
    check(link("/catalog"), None);
    check(link("//evil.example"), Some("link"));
    check(link("javascript:alert(1)"), Some("link"));
    check(link("catalog"), Some("link"));
}

/// What version 1 wrote stays readable.
#[test]
fn stored_rows_are_read_as_they_were_written() {
    let stored =
        b"\x01{\"id\":\"00000000-0000-0000-0000-000000000000\",\"number\":7,\"created\":\"2026-01-01T00:00:00Z\",\
        \"origin\":\"api\",\"recipients\":{\"type\":\"entity\",\"entityRef\":[\"user:default/ann\"]},\"title\":\"a\",\
        \"severity\":\"high\",\"scope\":\"s\",\"identity\":\"ab\"}";
    let row: Notification = row::decode(stored).unwrap();
    assert_eq!((row.number, row.severity, row.identity.as_str()), (7, Severity::High, "ab"));
    assert_eq!(row::encode(&row), &stored[..]);
    let marks: super::store::Marks = row::decode(b"\x01{\"read\":7,\"read_at\":\"2026-01-01T00:00:00Z\"}").unwrap();
    assert_eq!(marks.read, 7);
    let told: super::told::ToldRow = row::decode(
        b"\x01{\"since\":\"2026-01-01T00:00:00Z\",\"deliveries\":[{\"channel\":\"mail\",\"digest\":\"d\"}]}",
    )
    .unwrap();
    assert_eq!(told.deliveries[0].channel, "mail");
}

#[tokio::test]
async fn notifications_of_two_tenants_do_not_meet() {
    let (journal, clock) = (Arc::new(MemoryJournal::new()), SimClock::new(Timestamp::UNIX_EPOCH));
    let open = || AllNotifications::open(journal.clone(), Arc::new(clock.clone())).unwrap();
    let tenant = |text: &str| crate::model::TenantName::parse(text).unwrap();
    let all = open();
    let [own, red] = ["default", "red"].map(|name| all.of(&tenant(name)).unwrap());
    let scoped = |title: &str| New { scope: Some("disk".to_owned()), ..new(title, &[]) };
    for (notifications, title) in [(&own, "of default"), (&red, "of red")] {
        assert!(!notifications.post(scoped(title)).await.unwrap().updated, "the scope is this tenant's own");
    }
    let delivery = || Delivery { channel: "mail".to_owned(), id: None, digest: "d".to_owned() };
    red.delivered("key", delivery()).await.unwrap();
    assert!(own.deliveries("key").unwrap().is_empty());

    let all = open();
    let titles = |name: &str| {
        let page = all.of(&tenant(name)).unwrap().list(&Reader::default(), &Filter::default(), 9, None).unwrap();
        page.items.into_iter().map(|view| (view.notification.title, view.notification.number)).collect::<Vec<_>>()
    };
    assert_eq!(titles("default"), [("of default".to_owned(), 1)]);
    assert_eq!(titles("red"), [("of red".to_owned(), 1)]);
    assert!(titles("blue").is_empty());
    let reds = red.list(&Reader::default(), &Filter::default(), 1, None).unwrap().items[0].notification.id;
    assert!(matches!(own.get(reds), Err(NotificationError::NotFound(_))));
    assert!(matches!(own.delete(reds).await, Err(NotificationError::NotFound(_))));
    assert_eq!(own.counts(&Reader::default()).unwrap().unread, 1);

    let mut heard = Box::pin(all.of(&tenant("red")).unwrap().follow(Reader::default(), None));
    all.of(&tenant("default")).unwrap().post(new("default again", &[])).await.unwrap();
    all.of(&tenant("red")).unwrap().post(new("red again", &[])).await.unwrap();
    assert_eq!(heard.next().await.unwrap().title, "red again", "she hears only her own tenant's");

    all.forget(&tenant("red")).await.unwrap();
    assert!(titles("red").is_empty() && titles("default").len() == 2);
    assert!(all.of(&tenant("red")).unwrap().deliveries("key").unwrap().is_empty());
}
