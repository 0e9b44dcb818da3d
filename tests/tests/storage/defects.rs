//! Defects of the storage service and of what people orchestrate it with today, each with what happens here instead.

use orchestrator_tests::soda::{Change, Conduct, Fault, Pace, Spelling, Trouble};
use serde_json::{Value, json};

use super::scenes::{BAD, Scene};

const MINUTES: f64 = 0.5;

#[tokio::test]
async fn an_api_that_rejects_null_never_gets_one_and_an_omitted_profile_is_left_out() {
    let scene = Scene::new();
    let order = json!({
        "name": "data", "size": 1, "hostId": scene.host, "description": null, "profileId": null, "poolId": null,
        "availabilityZone": null, "snapshotId": null, "snapshotFromCloud": null, "attachMode": null, "pollSeconds": null
    });
    scene.run("provision-volume", order).await.completed();
    let order = json!({"volumeId": scene.volume, "name": "s", "description": null, "profileId": null});
    scene.run("snapshot-volume", order).await.completed();
    let order = json!({"hostName": "h", "ip": "192.0.2.7", "initiators": null, "osType": null});
    scene.run("register-host", order).await.completed();
    for request in scene.soda.requests() {
        let members = request.body.as_object();
        assert!(!members.is_some_and(|members| members.values().any(Value::is_null)), "{:?}", request);
    }
    let sent = scene.soda.requests_to("POST", "/block/volumes").pop().expect("it was asked for").body;
    assert_eq!(sent.get("profileId"), None);
}

#[tokio::test]
async fn a_volume_that_is_created_for_ever_ends_at_its_deadline_and_is_named() {
    let scene = Scene::new();
    scene.soda.next(Change::Volume, Conduct::Stuck);
    let order = json!({
        "name": "data", "size": 1, "hostId": scene.host, "deadlineMinutes": MINUTES, "cleanupMinutes": MINUTES
    });
    let (kind, status, detail) = scene.run("provision-volume", order).await.failed();
    assert_eq!((kind.as_str(), status), ("cleanup-incomplete", 500));
    let stuck = scene.soda.volumes().into_iter().find(|volume| volume["name"] == "data").expect("it is still there");
    assert!(detail.contains(stuck["id"].as_str().expect("an id")), "the error names what is left: {detail}");
}

#[tokio::test]
async fn nothing_is_attached_before_its_volume_is_available() {
    let scene = Scene::with(Pace::Looks(6));
    scene.run("provision-volume", json!({"name": "data", "size": 1, "hostId": scene.host})).await.completed();
    assert_eq!(scene.soda.requests_to("POST", "/block/attachments").len(), 1, "it was never refused");
}

#[tokio::test]
async fn a_failing_attach_leaves_neither_volume_nor_attachment() {
    let scene = Scene::new();
    let before = scene.standing();
    scene.soda.next(Change::Attachment, Conduct::Fails);
    let order = json!({"name": "data", "size": 1, "hostId": scene.host});
    let (kind, status, detail) = scene.run("provision-volume", order).await.failed();
    assert_eq!((kind.as_str(), status), ("volume-not-attached", 502));
    assert!(detail.ends_with("nothing is left behind"), "{detail}");
    assert_eq!(scene.standing(), before);

    scene.soda.next(Change::Attachment, Conduct::Fails);
    let order = json!({"volumeId": scene.volume, "hostId": scene.host});
    let (kind, ..) = scene.run("attach-volume", order).await.failed();
    assert_eq!(kind, "volume-not-attached");
    assert_eq!(scene.standing(), before, "the volume that was there stays, the failed attachment goes");
}

#[tokio::test]
async fn an_attachment_that_was_there_before_stays_when_attaching_again_fails() {
    let scene = Scene::attached();
    let before = scene.standing();
    let order = json!({"volumeId": scene.volume, "hostId": scene.host, "attachMode": "ro"});
    let (kind, status, _) = scene.run("attach-volume", order).await.failed();
    assert_eq!((kind.as_str(), status), ("validation", 409));
    assert_eq!(scene.standing(), before);
}

#[tokio::test]
async fn a_failed_extension_that_looks_available_with_the_old_size_is_recognised_and_told() {
    let scene = Scene::new();
    scene.soda.next(Change::Extension, Conduct::Fails);
    let (kind, status, detail) =
        scene.run("extend-volume", json!({"volumeId": scene.volume, "size": 9})).await.failed();
    assert_eq!((kind.as_str(), status), ("volume-not-extended", 502));
    assert!(detail.contains("available with its old size of 2 GB"), "{detail}");
    scene.run("extend-volume", json!({"volumeId": scene.volume, "size": 9})).await.completed();
}

#[tokio::test]
async fn shrinking_and_extending_in_use_are_refused_before_anything_is_asked_for() {
    let scene = Scene::new();
    let (kind, status, _) = scene.run("extend-volume", json!({"volumeId": scene.volume, "size": 1})).await.failed();
    assert_eq!((kind.as_str(), status), ("cannot-shrink", 400));
    let scene = Scene::attached();
    let (kind, status, _) = scene.run("extend-volume", json!({"volumeId": scene.volume, "size": 9})).await.failed();
    assert_eq!((kind.as_str(), status), ("volume-in-use", 409));
    assert_eq!(scene.soda.requests_to("POST", "/block/volumes/").len(), 0);
}

#[tokio::test]
async fn a_detach_whose_driver_fails_is_told_although_the_attachment_is_gone() {
    let scene = Scene::attached();
    scene.soda.next(Change::Detachment, Conduct::Fails);
    let (kind, status, detail) = scene.run("detach-volume", json!({"volumeId": scene.volume})).await.failed();
    assert_eq!((kind.as_str(), status), ("volume-not-released", 502));
    assert!(detail.contains("the storage driver failed to detach it"), "{detail}");

    let scene = Scene::attached();
    scene.soda.next(Change::Detachment, Conduct::Fails);
    let (_, status, detail) = scene.run("retire-volume", json!({"volumeId": scene.volume})).await.failed();
    assert_eq!(status, 503);
    assert!(
        detail.contains("the storage driver failed to detach it") && detail.contains("Detached so far: 1"),
        "{detail}"
    );
}

#[tokio::test]
async fn error_deleting_is_tried_again_three_times_and_then_told() {
    for (change, kind) in [(Change::Deletion, "volume-not-deleted"), (Change::SnapshotDeletion, "snapshot-not-deleted")]
    {
        for (failures, completes) in [(2, true), (3, false)] {
            let scene = Scene::with_snapshots();
            (0..failures).for_each(|_| scene.soda.next(change, Conduct::Fails));
            let ran = scene.run("retire-volume", json!({"volumeId": scene.volume, "deleteSnapshots": true})).await;
            if completes {
                ran.completed();
                assert_eq!(scene.soda.volumes(), Vec::<Value>::new());
            } else {
                assert_eq!((ran.failed().0.as_str(), ran.failed().1), (kind, 502), "{change:?}");
                scene
                    .run("retire-volume", json!({"volumeId": scene.volume, "deleteSnapshots": true}))
                    .await
                    .completed();
            }
        }
    }
}

#[tokio::test]
async fn a_deletion_that_is_refused_because_the_volume_is_in_use_is_told_in_the_api_s_words() {
    let scene = Scene::attached();
    // The list of attachments is answered, but by somebody who does not know of any.
    scene.soda.fault(Fault::on("GET", "/block/attachments", Trouble::Empty));
    let (kind, status, detail) = scene.run("retire-volume", json!({"volumeId": scene.volume})).await.failed();
    assert_eq!((kind.as_str(), status), ("validation", 400));
    assert!(detail.contains("the volume status is inUse; detach it"), "{detail}");
}

#[tokio::test]
async fn nothing_is_polled_for_ever() {
    let order = |scene: &Scene, more: Value| {
        let mut order = json!({"volumeId": scene.volume, "deadlineMinutes": MINUTES});
        order.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        order
    };
    let clean = json!({"cleanupMinutes": MINUTES});
    for (workflow, change, attached, more) in [
        ("snapshot-volume", Change::Snapshot, false, json!({"name": "s", "cleanupMinutes": MINUTES})),
        ("extend-volume", Change::Extension, false, json!({"size": 9})),
        ("attach-volume", Change::Attachment, false, clean),
        ("detach-volume", Change::Detachment, true, json!({})),
        ("retire-volume", Change::Detachment, true, json!({})),
        ("retire-volume", Change::Deletion, false, json!({})),
    ] {
        let scene = if attached { Scene::attached() } else { Scene::new() };
        scene.soda.next(change, Conduct::Stuck);
        let mut order = order(&scene, more);
        if workflow == "attach-volume" {
            order["hostId"] = json!(scene.host);
        }
        let (kind, status, detail) = scene.run(workflow, order).await.failed();
        let told = matches!((kind.as_str(), status), ("timeout", 408) | ("cleanup-incomplete", 500));
        assert!(told && detail.contains("was not"), "{workflow}: {kind} {status} {detail}");
    }
}

#[tokio::test]
async fn a_snapshot_that_fails_or_never_ends_is_removed_or_named() {
    for conduct in BAD {
        let scene = Scene::new();
        scene.soda.next(Change::Snapshot, conduct);
        let order = json!({
            "volumeId": scene.volume, "name": "s", "deadlineMinutes": MINUTES, "cleanupMinutes": MINUTES
        });
        let (kind, _, detail) = scene.run("snapshot-volume", order).await.failed();
        match conduct {
            Conduct::Fails => assert_eq!((kind.as_str(), scene.soda.snapshots().len()), ("snapshot-not-made", 0)),
            _ => {
                let left = scene.soda.snapshots()[0]["id"].as_str().expect("an id").to_owned();
                assert!(kind == "cleanup-incomplete" && detail.contains(&left), "{detail}");
            }
        }
    }
}

#[tokio::test]
async fn the_keys_of_every_release_are_understood() {
    for spelling in [Spelling::Released, Spelling::Camel, Spelling::Capital] {
        let scene = Scene::new();
        scene.soda.spell(spelling);
        let id = json!(scene.volume);
        let order = json!({"name": "data", "size": 1, "hostId": scene.host});
        let ran = scene.run("provision-volume", order).await;
        assert_eq!(ran.completed()["status"], "inUse", "{spelling:?}");
        scene.run("snapshot-volume", json!({"volumeId": id, "name": "s"})).await.completed();
        scene.run("extend-volume", json!({"volumeId": id, "size": 5})).await.completed();
        scene.run("attach-volume", json!({"volumeId": id, "hostId": scene.host})).await.completed();
        scene.run("list-storage", json!({"what": "hosts"})).await.completed();
        scene.run("retire-volume", json!({"volumeId": id, "deleteSnapshots": true})).await.completed();
    }
}

#[tokio::test]
async fn times_without_a_zone_are_told_as_they_are() {
    let scene = Scene::new();
    let ran = scene.run("snapshot-volume", json!({"volumeId": scene.volume, "name": "s"})).await;
    let made_at = ran.completed()["createdAt"].as_str().expect("a time").to_owned();
    assert!(made_at.starts_with("2021-04-16T15:00:0") && made_at.len() == 19, "{made_at}");
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_not_made_twice() {
    for path in ["/block/volumes", "/block/attachments"] {
        for trouble in [Trouble::Drop, Trouble::Hang, Trouble::Garbled, Trouble::Status(500)] {
            let scene = Scene::new();
            let before = scene.soda.made();
            scene.soda.fault(Fault::on("POST", path, trouble).after_effect());
            scene.run("provision-volume", json!({"name": "data", "size": 1, "hostId": scene.host})).await.completed();
            let made = scene.soda.made();
            assert_eq!((made.volumes - before.volumes, made.attachments), (1, 1), "{path} {trouble:?}");
        }
    }
}

#[tokio::test]
async fn an_outage_that_lasts_ends_the_order_and_says_how_to_find_what_is_left() {
    let scene = Scene::new();
    scene.soda.fault(Fault::on("", "", Trouble::Refuse).nth(4).times(u32::MAX));
    let order = json!({"name": "data", "size": 1, "hostId": scene.host, "cleanupMinutes": MINUTES});
    let ran = scene.run("provision-volume", order).await;
    let (kind, status, detail) = ran.failed();
    assert_eq!((kind.as_str(), status), ("cleanup-incomplete", 500));
    assert!(detail.contains("whose description ends with [orchestrator:"), "{detail}");
    assert!(ran.entered("findVolumes") > 10, "cleaning up was tried until its deadline");
}
