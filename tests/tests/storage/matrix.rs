//! Every request of every workflow meets every fault, before and after its effect. Whatever happens, an order ends; one
//! that completes has had its effect exactly once; one that fails says why and leaves the outside as it was.

use futures_util::StreamExt as _;
use orchestrator_tests::soda::{Fault, Made, Trouble};
use serde_json::{Value, json};

use super::scenes::{Ran, Scene, Standing};

/// Runs at once; each has a thread of its own.
const TOGETHER: usize = 4;

const TROUBLES: [Trouble; 12] = [
    Trouble::Status(400),
    Trouble::Status(401),
    Trouble::Status(403),
    Trouble::Status(404),
    Trouble::Status(409),
    Trouble::Status(429),
    Trouble::Status(500),
    Trouble::Status(503),
    Trouble::Hang,
    Trouble::Drop,
    Trouble::Refuse,
    Trouble::Garbled,
];

/// Trouble that passes by itself: an order lives through it.
fn passes(trouble: Trouble) -> bool {
    match trouble {
        Trouble::Status(status) => status >= 429,
        _ => true,
    }
}

/// A workflow, what stands before it, and how it is ordered.
#[derive(Clone, Copy)]
struct Story {
    workflow: &'static str,
    scene: fn() -> Scene,
    order: fn(&Scene) -> Value,
    /// Whether a failed order leaves the outside as it was; otherwise a second order finishes the work.
    cleans_up: bool,
}

struct Told {
    ran: Ran,
    before: Standing,
    after: Standing,
    made: Made,
    requests: Vec<String>,
    scene: Scene,
}

async fn tell(story: Story, fault: Option<Fault>) -> Told {
    let scene = (story.scene)();
    let (before, earlier, asked) = (scene.standing(), scene.soda.made(), scene.soda.requests().len());
    if let Some(fault) = fault {
        scene.soda.fault(fault);
    }
    let ran = scene.run(story.workflow, (story.order)(&scene)).await;
    let requests = scene.soda.requests().into_iter().skip(asked).map(|seen| seen.method).collect();
    let made = difference(scene.soda.made(), earlier);
    Told { ran, before, after: scene.standing(), made, requests, scene }
}

fn difference(made: Made, earlier: Made) -> Made {
    Made {
        volumes: made.volumes - earlier.volumes,
        attachments: made.attachments - earlier.attachments,
        snapshots: made.snapshots - earlier.snapshots,
        hosts: made.hosts - earlier.hosts,
        extensions: made.extensions - earlier.extensions,
    }
}

async fn check(story: Story) {
    let happy = tell(story, None).await;
    happy.ran.completed();
    let mut cases = Vec::new();
    for (index, method) in happy.requests.iter().enumerate() {
        for trouble in TROUBLES {
            cases.push((index as u32 + 1, trouble, false));
            if method != "GET" && trouble != Trouble::Refuse {
                cases.push((index as u32 + 1, trouble, true));
            }
        }
    }
    let (count, made) = (cases.len(), happy.made);
    let runs = cases.into_iter().map(|case| check_case(story, made, case));
    futures_util::stream::iter(runs).buffer_unordered(TOGETHER).collect::<Vec<()>>().await;
    println!("{}: {count} faults on {} requests", story.workflow, happy.requests.len());
}

async fn check_case(story: Story, happy: Made, (nth, trouble, after_effect): (u32, Trouble, bool)) {
    let name = format!("{}: request {nth}, {trouble:?}, after its effect: {after_effect}", story.workflow);
    let fault = Fault::on("", "", trouble).nth(nth);
    let told = tell(story, Some(if after_effect { fault.after_effect() } else { fault })).await;
    let completed = told.ran.outcome.status.as_str() == "completed";
    if completed {
        told.ran.completed();
        assert_eq!(told.made, happy, "{name}: the effect is there exactly once");
        return;
    }
    let (kind, status, detail) = told.ran.failed();
    assert!(!passes(trouble), "{name}: it passes by itself, but the order ended with {kind} {status}: {detail}");
    // Who is told falsely that something is not there may stumble over it later.
    if let Trouble::Status(sent @ (400..=403 | 409)) = trouble {
        assert_eq!(status, sent, "{name}: {kind}: {detail}");
    }
    assert!(detail.len() > 20, "{name}: it is told why: {detail}");
    if story.cleans_up {
        assert_eq!(told.after, told.before, "{name}: {detail}");
    } else {
        // What was begun is finished by ordering again.
        let again = told.scene.run(story.workflow, (story.order)(&told.scene)).await;
        again.completed();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_meets_every_fault() {
    let order = |scene: &Scene| json!({"name": "data", "size": 3, "hostId": scene.host});
    check(Story { workflow: "provision-volume", scene: Scene::new, order, cleans_up: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_a_snapshot_meets_every_fault() {
    let order = |scene: &Scene| json!({"volumeId": scene.volume, "name": "nightly"});
    check(Story { workflow: "snapshot-volume", scene: Scene::new, order, cleans_up: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extending_meets_every_fault() {
    let order = |scene: &Scene| json!({"volumeId": scene.volume, "size": 5});
    check(Story { workflow: "extend-volume", scene: Scene::new, order, cleans_up: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attaching_meets_every_fault() {
    let order = |scene: &Scene| json!({"volumeId": scene.volume, "hostId": scene.host});
    check(Story { workflow: "attach-volume", scene: Scene::new, order, cleans_up: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn detaching_meets_every_fault() {
    let order = |scene: &Scene| json!({"volumeId": scene.volume});
    check(Story { workflow: "detach-volume", scene: Scene::attached, order, cleans_up: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retiring_meets_every_fault() {
    let order = |scene: &Scene| json!({"volumeId": scene.volume, "deleteSnapshots": true, "allowMissing": true});
    check(Story { workflow: "retire-volume", scene: Scene::with_snapshots, order, cleans_up: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_and_listing_meet_every_fault() {
    let order = |_: &Scene| json!({"hostName": "db-01", "ip": "192.0.2.7"});
    check(Story { workflow: "register-host", scene: Scene::new, order, cleans_up: false }).await;
    let order = |_: &Scene| json!({"what": "pools"});
    check(Story { workflow: "list-storage", scene: Scene::new, order, cleans_up: true }).await;
}
