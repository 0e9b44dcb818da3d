//! Each service does what it says, slow or fast, once or twice.

use std::collections::BTreeSet;

use orchestrator_host::model::ResourceChange::{Created, Deleted};
use orchestrator_tests::soda::Pace;
use serde_json::{Value, json};

use super::scenes::Scene;

#[tokio::test]
async fn a_volume_is_provisioned_and_told() {
    let scene = Scene::new();
    let ran = scene.run("provision-volume", json!({"name": "data", "size": 3, "hostId": scene.host})).await;
    let output = ran.completed();
    assert_eq!((&output["status"], &output["size"], &output["attachMode"]), (&json!("inUse"), &json!(3), &json!("rw")));
    assert_eq!(output["connectionInfo"]["driverVolumeType"], "iscsi");
    let noted: Vec<_> = ran.ledger.iter().map(|(kind, _, change)| (kind.as_str(), *change)).collect();
    assert_eq!(noted, [("volume", Created), ("attachment", Created)]);
    assert!(!output.to_string().contains("do-not-keep"), "no password is kept: {output}");
}

#[tokio::test]
async fn a_volume_is_made_from_a_snapshot_also_from_one_in_the_cloud() {
    for cloud in [Value::Null, json!(true), json!(false)] {
        let scene = Scene::new();
        scene.soda.snapshot("s-1", 2);
        let order = json!({
            "name": "copy", "size": 2, "hostId": scene.host, "snapshotId": "s-1", "snapshotFromCloud": cloud
        });
        scene.run("provision-volume", order).await.completed();
        let sent = scene.soda.requests_to("POST", "/block/volumes").pop().expect("it was asked for").body;
        assert_eq!((&sent["snapshotId"], &sent["snapshotFromCloud"]), (&json!("s-1"), &cloud));
    }
}

#[tokio::test]
async fn a_snapshot_is_taken_and_told() {
    let scene = Scene::new();
    let ran = scene.run("snapshot-volume", json!({"volumeId": scene.volume, "name": "nightly"})).await;
    let output = ran.completed();
    let snapshot = &scene.soda.snapshots()[0];
    assert_eq!((&output["snapshotId"], &output["size"]), (&snapshot["id"], &json!(2)));
    assert_eq!(
        (output["status"].as_str(), output["createdAt"].clone()),
        (Some("available"), snapshot["createdAt"].clone())
    );
    assert_eq!(ran.ledger.len(), 1);
}

#[tokio::test]
async fn a_volume_in_use_can_be_snapshotted() {
    let scene = Scene::attached();
    scene.run("snapshot-volume", json!({"volumeId": scene.volume, "name": "nightly"})).await.completed();
}

#[tokio::test]
async fn a_volume_is_extended_once_however_often_it_is_ordered() {
    let scene = Scene::new();
    for extended in [true, false] {
        let ran = scene.run("extend-volume", json!({"volumeId": scene.volume, "size": 5})).await;
        assert_eq!(ran.completed()["extended"], json!(extended));
        assert_eq!(ran.completed()["size"], json!(5));
    }
    assert_eq!(scene.soda.made().extensions, 1);
}

#[tokio::test]
async fn a_volume_is_attached_and_detached_once_however_often_it_is_ordered() {
    let scene = Scene::new();
    let pair = json!({"volumeId": scene.volume, "hostId": scene.host});
    for _ in 0..2 {
        let ran = scene.run("attach-volume", pair.clone()).await;
        assert_eq!(ran.completed()["attachmentId"], scene.soda.attachments()[0]["id"]);
    }
    assert_eq!(scene.soda.made().attachments, 1);
    for hosts in [json!([scene.host]), json!([])] {
        let ran = scene.run("detach-volume", pair.clone()).await;
        assert_eq!((&ran.completed()["detached"], &ran.completed()["status"]), (&hosts, &json!("available")));
    }
    assert_eq!(scene.soda.attachments(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_volume_is_retired_with_everything_that_hangs_on_it() {
    let scene = Scene::with_snapshots();
    let order = json!({"volumeId": scene.volume, "deleteSnapshots": true});
    let ran = scene.run("retire-volume", order).await;
    let output = ran.completed();
    assert_eq!(
        (&output["detached"], output["deletedSnapshots"].as_array().map(Vec::len)),
        (&json!([scene.host]), Some(2))
    );
    assert_eq!((scene.soda.volumes(), scene.soda.attachments(), scene.soda.snapshots()), (vec![], vec![], vec![]));
    let deleted: BTreeSet<_> = ran.ledger.iter().map(|(kind, _, change)| (kind.as_str(), *change == Deleted)).collect();
    assert_eq!(deleted, BTreeSet::from([("attachment", true), ("snapshot", true), ("volume", true)]));
}

#[tokio::test]
async fn a_volume_with_snapshots_is_left_as_it_is_unless_they_may_go_too() {
    let scene = Scene::with_snapshots();
    let before = scene.standing();
    let (kind, status, detail) = scene.run("retire-volume", json!({"volumeId": scene.volume})).await.failed();
    assert_eq!((kind.as_str(), status), ("snapshots-exist", 409));
    assert!(detail.contains("2 snapshots (one, two)") && detail.contains("deleteSnapshots: true"), "{detail}");
    assert_eq!(scene.standing(), before, "nothing was done");
}

#[tokio::test]
async fn a_volume_that_is_gone_is_an_error_unless_it_may_be_gone() {
    let scene = Scene::new();
    let (kind, status, _) = scene.run("retire-volume", json!({"volumeId": "nothing"})).await.failed();
    assert_eq!((kind.as_str(), status), ("communication", 404));
    let ran = scene.run("retire-volume", json!({"volumeId": "nothing", "allowMissing": true})).await;
    assert_eq!(ran.completed()["alreadyGone"], json!(true));
}

#[tokio::test]
async fn a_host_is_registered_once_under_its_name() {
    let scene = Scene::new();
    let before = scene.soda.made().hosts;
    let order = json!({"hostName": "db-01", "ip": "192.0.2.7", "availabilityZones": ["default"]});
    let first = scene.run("register-host", order.clone()).await;
    let second = scene.run("register-host", order).await;
    assert_eq!(first.completed()["hostId"], second.completed()["hostId"]);
    assert_eq!(scene.soda.made().hosts, before + 1);
    let other = json!({"hostName": "db-01", "ip": "192.0.2.8"});
    let (kind, status, detail) = scene.run("register-host", other).await.failed();
    assert_eq!((kind.as_str(), status), ("validation", 409), "{detail}");
}

#[tokio::test]
async fn everything_can_be_listed_with_a_table_for_people() {
    let scene = Scene::with_snapshots();
    for (what, count) in [
        (Value::Null, 1),
        (json!("volumes"), 1),
        (json!("snapshots"), 2),
        (json!("attachments"), 1),
        (json!("hosts"), 1),
        (json!("profiles"), 1),
        (json!("pools"), 1),
        (json!("availabilityZones"), 1),
    ] {
        let ran = scene.run("list-storage", json!({"what": what})).await;
        let output = ran.completed();
        assert_eq!(output["count"], json!(count), "{what}");
        let table = output["result"]["outputs"][1]["value"].as_str().expect("a table");
        assert_eq!(table.lines().count(), count + 2, "{table}");
    }
    let ran = scene.run("list-storage", json!({"what": "snapshots", "name": "one", "volumeId": scene.volume})).await;
    assert_eq!(ran.completed()["items"][0]["name"], "one");
    let table = &ran.completed()["result"]["outputs"][1]["value"];
    assert!(
        table.as_str().expect("a table").starts_with("| id | name | size | status | volumeId |\n| --- |"),
        "{table}"
    );
}

#[tokio::test]
async fn a_slow_service_is_waited_for() {
    for looks in [1, 7] {
        let scene = Scene::with(Pace::Looks(looks));
        let id = json!(scene.volume);
        scene.run("provision-volume", json!({"name": "data", "size": 1, "hostId": scene.host})).await.completed();
        scene.run("snapshot-volume", json!({"volumeId": id, "name": "s"})).await.completed();
        scene.run("extend-volume", json!({"volumeId": id, "size": 5})).await.completed();
        scene.run("attach-volume", json!({"volumeId": id, "hostId": scene.host})).await.completed();
        scene.run("detach-volume", json!({"volumeId": id})).await.completed();
        scene.run("retire-volume", json!({"volumeId": id, "deleteSnapshots": true})).await.completed();
        assert_eq!(scene.soda.volumes().len(), 1, "only the provisioned one is left");
    }
}
