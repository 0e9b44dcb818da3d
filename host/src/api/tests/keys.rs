//! What a power cut leaves of a request under a key: after each write that there is, the request is repeated, and what it
//! asks for is there exactly once.

use super::services::install_shop;
use super::*;
use crate::journal::faulty::{Crash, CrashJournal};
use crate::journal::riding::Rider;
use crate::machine::record::Record;

const KEY: (&str, &str) = ("idempotency-key", "order-1");

/// One life of a server: whatever is under way when it is over is killed.
fn live<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

async fn ask(server: &Server, path: &str, body: &Json) -> Answer {
    let kind = if path == "/v1/events" { "application/cloudevents+json" } else { "application/json" };
    server.ask("POST", path, &[("content-type", kind), KEY], body.to_string()).await
}

/// What was there before, and where it is.
struct Before {
    rows: MemoryJournal,
    directory: Arc<tempfile::TempDir>,
}

impl Before {
    fn new(prepare: impl AsyncFnOnce(&Server)) -> Self {
        let (rows, directory) = (Arc::new(MemoryJournal::new()), folder());
        live(async {
            let server = Server::over(rows.clone(), directory.clone()).await;
            install_shop(&server).await;
            while server.get("/v1/schedules/tick@shop").await.status != StatusCode::OK {
                tokio::task::yield_now().await; // The scheduler takes up what was installed.
            }
            prepare(&server).await;
        });
        Self { rows: rows.copy(), directory }
    }
}

/// Crashes at each write of the request, and repeats it twice on what is left.
fn check(before: &Before, path: &str, body: &Json, status: u16, is_there_once: impl AsyncFn(&Server, &Answer)) {
    for crash in [Crash::Frozen, Crash::Unanswered] {
        for commits in 0.. {
            let journal = Arc::new(CrashJournal::over(&before.rows, commits, crash));
            let answered = live(async {
                let story = async {
                    let server = Server::over(journal.clone(), before.directory.clone()).await;
                    ask(&server, path, body).await
                };
                tokio::select! {
                    biased;
                    answer = story => Some(answer),
                    () = journal.crashed() => None,
                }
            });
            let at = format!("{path}, {crash:?} after {commits} writes");
            live(async {
                let server = Server::over(Arc::new(journal.reopen()), before.directory.clone()).await;
                let again = ask(&server, path, body).await;
                assert!([200, 202, status].contains(&again.status.as_u16()), "{at}: {:?}", again.body);
                is_there_once(&server, &again).await;
                let third = ask(&server, path, body).await;
                assert_eq!(third.headers.get("location"), again.headers.get("location"), "{at}");
                is_there_once(&server, &third).await;
            });
            if let Some(answer) = answered {
                assert_eq!(answer.status.as_u16(), status, "{at}: {:?}", answer.body);
                assert!(commits > 0, "{at}: it writes something");
                break;
            }
        }
    }
}

async fn items(server: &Server, path: &str) -> Vec<Json> {
    server.get(path).await.json()["items"].as_array().unwrap().clone()
}

#[test]
fn a_service_is_made_once_whatever_write_is_the_last() {
    let body = json!({ "name": "gold", "pack": "shop", "workflow": "order" });
    check(&Before::new(async |_| ()), "/v1/services", &body, 201, async |server, answer| {
        assert_eq!((answer.status.as_u16(), &answer.headers["location"]), (201, &"/v1/services/gold".parse().unwrap()));
        assert_eq!(server.get("/v1/services/gold").await.json(), answer.json());
    });
}

#[test]
fn a_schedule_is_made_once_whatever_write_is_the_last() {
    let body = json!({ "name": "nightly", "service": "shop order", "input": { "size": 1 }, "cron": "0 3 1 1 *" });
    check(&Before::new(async |_| ()), "/v1/schedules", &body, 201, async |server, answer| {
        assert_eq!(answer.headers["location"], "/v1/schedules/nightly");
        assert_eq!(server.get("/v1/schedules/nightly").await.json(), answer.json());
    });
}

#[test]
fn an_instance_is_started_once_whatever_write_is_the_last() {
    let body = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
    check(&Before::new(async |_| ()), "/v1/instances", &body, 201, async |server, answer| {
        let all = items(server, "/v1/instances").await;
        assert_eq!((all.len(), &all[0]["id"]), (1, &answer.json()["id"]));
    });
}

#[test]
fn a_notification_is_posted_once_whatever_write_is_the_last() {
    let body = json!({ "title": "done", "recipients": { "type": "broadcast" } });
    check(&Before::new(async |_| ()), "/v1/notifications", &body, 201, async |server, answer| {
        let all = items(server, "/v1/notifications").await;
        assert_eq!((all.len(), &all[0]["id"]), (1, &answer.json()["id"]));
    });
}

#[test]
fn an_event_is_taken_once_whatever_write_is_the_last() {
    let body = json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": "t" });
    check(&Before::new(async |_| ()), "/v1/events", &body, 202, async |_, answer| {
        let told = answer.json();
        assert_eq!(told["accepted"].as_u64().unwrap() + told["duplicates"].as_u64().unwrap(), 1, "{told}");
    });
}

#[test]
fn a_faulted_instance_is_tried_again_once_whatever_write_is_the_last() {
    let failed = std::cell::OnceCell::new();
    let before = Before::new(async |server| {
        let body = json!({ "pack": "test", "workflow": "fail" });
        let faulted = server.post("/v1/instances?wait=30", body).await.json();
        assert_eq!(faulted["status"], "faulted");
        failed.set(faulted["id"].as_str().unwrap().to_owned()).unwrap();
    });
    let id = failed.get().unwrap();
    check(&before, &format!("/v1/instances/{id}/retry"), &Json::Null, 202, async |server, _| {
        let history = server.rooms.coordinator.history(id.parse().unwrap(), 0, 1000).unwrap();
        let begun_anew = history.iter().filter(|stamped| matches!(stamped.record, Record::Reopened { .. })).count();
        assert_eq!(begun_anew, 1);
    });
}

#[test]
fn what_was_made_and_is_gone_is_not_made_again_and_the_client_is_told() {
    let before = Before::new(async |_| ());
    let body = json!({ "name": "gold", "pack": "shop", "workflow": "order" });
    let journal = Arc::new(CrashJournal::over(&before.rows, 0, Crash::Unanswered));
    live(async {
        let story = async {
            let server = Server::over(journal.clone(), before.directory.clone()).await;
            ask(&server, "/v1/services", &body).await
        };
        tokio::select! {
            biased;
            _ = story => panic!("the first write is never answered"),
            () = journal.crashed() => {}
        }
    });
    live(async {
        let server = Server::over(Arc::new(journal.reopen()), before.directory.clone()).await;
        let mut other = body.clone();
        other["group"] = "metals".into();
        assert_eq!(ask(&server, "/v1/services", &other).await.problem(), "idempotency-key-reused");
        server.delete("/v1/services/gold").await;
        let refused = ask(&server, "/v1/services", &body).await;
        assert!(refused.json()["detail"].as_str().unwrap().contains("`/v1/services`"), "{:?}", refused.body);
        assert_eq!(refused.problem(), "idempotency-answer-lost");
        assert_eq!(server.get("/v1/services/gold").await.problem(), "unknown-service");
    });
}

#[tokio::test]
async fn every_keyed_request_that_commits_in_its_own_task_takes_its_key_along() {
    let server = Server::new().await;
    install_shop(&server).await;
    for (path, body) in [
        ("/v1/services", json!({ "name": "gold", "pack": "shop", "workflow": "order" })),
        ("/v1/schedules", json!({ "name": "rare", "pack": "test", "workflow": "hang", "every": "PT5H" })),
    ] {
        let rider = Rider::new(Default::default);
        let answer = rider.accompany(server.post(path, body)).await;
        assert_eq!((answer.status, rider.is_aboard()), (StatusCode::CREATED, true), "{path}: {:?}", answer.body);
    }
}
