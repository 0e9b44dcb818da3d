//! The double of the block API behaves as the API is documented and was observed to behave: a workflow that passes
//! against a kinder double would prove nothing.
#![expect(clippy::unwrap_used, reason = "a helper of a test that panics fails the test")]

use orchestrator_tests::soda::{
    Change, Conduct, Fault, MOMENT, Pace, Seen, Soda, Spelling, TENANT, TOKEN, TOKEN_HEADER, Trouble,
};
use orchestrator_tests::tls_ready;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Asks the double and gives status and body; `None` when no whole answer came.
async fn ask(soda: &Soda, method: Method, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
    tls_ready();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
    let mut request = client.request(method, format!("{}{path}", soda.url)).header(TOKEN_HEADER, TOKEN);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await.ok()?;
    Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

async fn get(soda: &Soda, path: &str) -> (u16, Value) {
    ask(soda, Method::GET, path, None).await.unwrap()
}

async fn post(soda: &Soda, path: &str, body: Value) -> (u16, Value) {
    ask(soda, Method::POST, path, Some(body)).await.unwrap()
}

async fn delete(soda: &Soda, path: &str) -> (u16, Value) {
    ask(soda, Method::DELETE, path, None).await.unwrap()
}

/// Makes a volume and lets it become available.
async fn volume(soda: &Soda) -> String {
    let (status, made) = post(soda, "/block/volumes", json!({"name": "data", "size": 1})).await;
    assert_eq!((status, &made["status"]), (202, &json!("creating")));
    soda.advance();
    made["id"].as_str().unwrap().to_owned()
}

async fn attach(soda: &Soda, volume: &str, host: &str) -> (u16, Value) {
    post(soda, "/block/attachments", json!({"volumeId": volume, "hostId": host})).await
}

async fn state(soda: &Soda, path: &str) -> Value {
    get(soda, path).await.1["status"].clone()
}

#[tokio::test]
async fn a_volume_goes_from_creating_to_available_at_the_asked_look() {
    let soda = Soda::start_with(Pace::Looks(3)).await;
    let (status, made) = post(&soda, "/block/volumes", json!({"name": "my data_1", "size": 4})).await;
    assert_eq!(status, 202);
    assert_eq!(made["tenantId"], TENANT);
    assert_eq!(made["availabilityZone"], "default");
    assert_eq!(made["updatedAt"], "");
    assert_eq!(made["AttachStatus"], "");
    assert!(made.get("description").is_none(), "empty texts are left out: {made}");
    let path = format!("/block/volumes/{}", made["id"].as_str().unwrap());
    for expected in ["creating", "creating", "available", "available"] {
        assert_eq!(state(&soda, &path).await, expected);
    }
    assert_eq!(soda.made().volumes, 1);
}

#[tokio::test]
async fn bodies_are_refused_in_the_words_of_the_api() {
    let soda = Soda::start_with(Pace::Steps).await;
    let mismatch = "Request body has an error: doesn't match the schema: Error at ";
    for (body, words) in [
        (
            json!({"name": "a", "size": 1, "availabilityZone": null}),
            format!("{mismatch}\"/availabilityZone\":Value is not nullable"),
        ),
        (json!({"name": "a", "size": 1, "profileId": null}), format!("{mismatch}\"/profileId\":Value is not nullable")),
        (json!({"name": "a"}), format!("{mismatch}\"/size\":Property 'size' is missing")),
        (json!({"name": "a", "size": "1"}), format!("{mismatch}\"/size\":Field must be set to integer")),
        (json!({"name": "a", "size": 1, "snapshotFromCloud": "true"}), format!("{mismatch}\"/snapshotFromCloud\"")),
        (json!({"name": "a.b", "size": 1}), "invalid volume name: a.b".to_owned()),
        (json!({"name": "", "size": 1}), "invalid volume name".to_owned()),
        (json!({"name": "a", "size": 0}), "invalid volume size: 0".to_owned()),
        (json!({"name": "a", "size": -1}), "invalid volume size: -1".to_owned()),
        (json!({"name": "a", "size": 1, "profileId": "p"}), "specified profile(p) can't find".to_owned()),
        (json!({"name": "a", "size": 1, "snapshotId": "s"}), "specified snapshot(s) can't find".to_owned()),
    ] {
        let (status, answer) = post(&soda, "/block/volumes", body.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!(400)), "{body}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(&words), "{body}: {message}");
    }
    assert_eq!(soda.made().volumes, 0);
    let unknown = json!({"name": "a", "size": 1, "ProfileId": "ignored"});
    assert_eq!(post(&soda, "/block/volumes", unknown).await.0, 202, "members that are not known are let through");
}

#[tokio::test]
async fn a_snapshot_must_fit_into_its_volume() {
    let soda = Soda::start().await;
    soda.snapshot("s", 5);
    soda.profile("gold");
    let body = |size: u64| json!({"name": "a", "size": size, "snapshotId": "s", "profileId": "gold"});
    assert_eq!(post(&soda, "/block/volumes", body(4)).await.0, 400);
    let (status, made) = post(&soda, "/block/volumes", body(5)).await;
    assert_eq!((status, &made["snapshotId"], &made["profileId"]), (202, &json!("s"), &json!("gold")));
}

#[tokio::test]
async fn attaching_takes_the_volume_into_use_and_detaching_gives_it_back() {
    let soda = Soda::start_with(Pace::Steps).await;
    let (host, id) = (soda.host(&["default"]), volume(&soda).await);
    let volume = format!("/block/volumes/{id}");

    let (status, made) = attach(&soda, &id, &host).await;
    assert_eq!((status, &made["status"], &made["attachMode"]), (202, &json!("creating"), &json!("rw")));
    assert_eq!(made["connectionInfo"], json!({}));
    assert_eq!(state(&soda, &volume).await, "attaching");
    let attachment = format!("/block/attachments/{}", made["id"].as_str().unwrap());
    assert_eq!(delete(&soda, &attachment).await.0, 400, "one that is being made cannot be deleted");

    soda.advance();
    assert_eq!(get(&soda, &attachment).await.1["connectionInfo"]["driverVolumeType"], "iscsi");
    assert_eq!(state(&soda, &volume).await, "inUse");
    let (status, refused) = delete(&soda, &volume).await;
    assert_eq!(
        (status, refused["message"].as_str().unwrap()),
        (
            400,
            "delete volume failed: only the volume with the status available, error, error_deleting, \
             error_extending can be deleted, the volume status is inUse"
        )
    );

    assert_eq!(delete(&soda, &attachment).await, (202, Value::Null));
    assert_eq!(state(&soda, &attachment).await, "deleting");
    soda.advance();
    assert_eq!(get(&soda, &attachment).await.0, 404);
    assert_eq!(state(&soda, &volume).await, "available");
    assert_eq!(delete(&soda, &volume).await.0, 202);
    assert_eq!(delete(&soda, &volume).await.0, 400, "a second deletion while the first is under way");
    soda.advance();
    let (status, gone) = get(&soda, &volume).await;
    assert_eq!(status, 404);
    assert!(gone["message"].as_str().unwrap().starts_with(&format!("volume {id} not found: ")));
    assert_eq!(
        (soda.volumes(), soda.attachments(), soda.made().volumes, soda.made().attachments),
        (vec![], vec![], 1, 1)
    );
}

#[tokio::test]
async fn attaching_is_refused_without_a_host_in_the_zone_and_a_volume_that_is_available() {
    let soda = Soda::start_with(Pace::Steps).await;
    let (host, elsewhere, id) = (soda.host(&["default", "b"]), soda.host(&["b"]), volume(&soda).await);
    assert_eq!(attach(&soda, &id, "nobody").await.0, 400);
    assert_eq!(attach(&soda, "nothing", &host).await.0, 400);
    assert_eq!(attach(&soda, &id, &elsewhere).await.0, 400);
    let odd = json!({"volumeId": id, "hostId": host, "attachMode": "wo"});
    assert_eq!(post(&soda, "/block/attachments", odd).await.0, 400);
    assert_eq!(attach(&soda, &id, &host).await.0, 202);
    soda.advance();
    let (status, refused) = attach(&soda, &id, &host).await;
    assert_eq!(status, 400);
    assert!(refused["message"].as_str().unwrap().contains("volume is already attached"), "{refused}");
    assert_eq!(soda.made().attachments, 1);
}

#[tokio::test]
async fn what_fails_ends_in_its_error_state_and_what_is_stuck_never_ends() {
    let soda = Soda::start_with(Pace::Steps).await;
    let host = soda.host(&["default"]);
    soda.next(Change::Volume, Conduct::Fails);
    soda.next(Change::Volume, Conduct::Stuck);
    let (failed, stuck, good) = (volume(&soda).await, volume(&soda).await, volume(&soda).await);
    soda.advance();
    for (id, expected) in [(&failed, "error"), (&stuck, "creating"), (&good, "available")] {
        assert_eq!(state(&soda, &format!("/block/volumes/{id}")).await, expected);
    }

    soda.next(Change::Attachment, Conduct::Fails);
    let (_, made) = attach(&soda, &good, &host).await;
    assert_eq!(state(&soda, &format!("/block/volumes/{good}")).await, "attaching");
    soda.advance();
    let attachment = format!("/block/attachments/{}", made["id"].as_str().unwrap());
    assert_eq!(state(&soda, &attachment).await, "error");
    assert_eq!(state(&soda, &format!("/block/volumes/{good}")).await, "available");
    let volume = format!("/block/volumes/{good}");
    assert_eq!(delete(&soda, &volume).await.0, 400, "the failed attachment is still there");
    assert_eq!(delete(&soda, &attachment).await.0, 202);
    soda.advance();

    soda.next(Change::Deletion, Conduct::Fails);
    assert_eq!(delete(&soda, &volume).await.0, 202);
    soda.advance();
    assert_eq!(state(&soda, &volume).await, "errorDeleting");
    assert_eq!(delete(&soda, &volume).await.0, 202);
    soda.advance();
    assert_eq!(get(&soda, &volume).await.0, 404);
}

#[tokio::test]
async fn lists_are_filtered_and_paged_with_the_newest_first() {
    let soda = Soda::start_with(Pace::Steps).await;
    for number in 0..3 {
        post(&soda, "/block/volumes", json!({"name": "a", "size": number + 1})).await;
        post(&soda, "/block/volumes", json!({"name": "b", "size": 9})).await;
    }
    let sizes = |list: &Value| -> Vec<u64> {
        list.as_array().unwrap().iter().map(|volume| volume["size"].as_u64().unwrap()).collect()
    };
    assert_eq!(sizes(&get(&soda, "/block/volumes?name=a").await.1), [3, 2, 1]);
    assert_eq!(sizes(&get(&soda, "/block/volumes?name=a&limit=2&offset=1").await.1), [2, 1]);
    assert_eq!(sizes(&get(&soda, "/block/volumes?status=available").await.1), [] as [u64; 0]);
    assert_eq!(get(&soda, "/block/volumes").await.1.as_array().unwrap().len(), 6);

    let (host, id) = (soda.host(&["default"]), volume(&soda).await);
    attach(&soda, &id, &host).await;
    for (query, expected) in
        [(format!("volumeId={id}&hostId={host}"), 1), ("volumeId=x".into(), 0), ("hostId=x".into(), 0)]
    {
        let (_, list) = get(&soda, &format!("/block/attachments?{query}")).await;
        assert_eq!(list.as_array().unwrap().len(), expected, "{query}");
    }
}

#[tokio::test]
async fn resizing_grows_an_available_volume_only() {
    let soda = Soda::start_with(Pace::Steps).await;
    let id = volume(&soda).await;
    let (volume, resize) = (format!("/block/volumes/{id}"), format!("/block/volumes/{id}/resize"));
    assert_eq!(post(&soda, &resize, json!({"newSize": 1})).await.0, 400);
    let (status, growing) = post(&soda, &resize, json!({"newSize": 3})).await;
    assert_eq!((status, &growing["status"], &growing["size"]), (202, &json!("extending"), &json!(1)));
    assert_eq!(post(&soda, &resize, json!({"newSize": 4})).await.0, 400);
    soda.advance();
    assert_eq!(get(&soda, &volume).await.1["size"], 3);
}

#[tokio::test]
async fn a_failed_extension_is_taken_back_and_tells_nothing() {
    let soda = Soda::start_with(Pace::Steps).await;
    let id = volume(&soda).await;
    let (volume, resize) = (format!("/block/volumes/{id}"), format!("/block/volumes/{id}/resize"));
    soda.next(Change::Extension, Conduct::Fails);
    assert_eq!(post(&soda, &resize, json!({"newSize": 3})).await.0, 202);
    soda.advance();
    let (_, shown) = get(&soda, &volume).await;
    assert_eq!((&shown["status"], &shown["size"]), (&json!("available"), &json!(1)));
    let (status, refused) = post(&soda, &resize, json!({"newSize": 1})).await;
    let words =
        "extend volume failed: new size for extend must be greater than current size.(current: 1 GB, extended: 1 GB).";
    assert_eq!((status, &refused["message"]), (400, &json!(words)));
}

#[tokio::test]
async fn a_detach_whose_driver_fails_drops_the_attachment_and_leaves_the_volume_in_use() {
    let soda = Soda::start_with(Pace::Steps).await;
    let (host, id) = (soda.host(&["default"]), volume(&soda).await);
    let (_, made) = attach(&soda, &id, &host).await;
    soda.advance();
    soda.next(Change::Detachment, Conduct::Fails);
    let attachment = format!("/block/attachments/{}", made["id"].as_str().unwrap());
    assert_eq!(delete(&soda, &attachment).await.0, 202);
    soda.advance();
    assert_eq!(get(&soda, &attachment).await.0, 404);
    assert_eq!(state(&soda, &format!("/block/volumes/{id}")).await, "inUse");
}

#[tokio::test]
async fn a_snapshot_is_made_listed_used_and_deleted() {
    let soda = Soda::start_with(Pace::Steps).await;
    let id = volume(&soda).await;
    let (status, made) = post(&soda, "/block/snapshots", json!({"name": "nightly", "volumeId": id})).await;
    assert_eq!((status, &made["status"], made.get("size")), (202, &json!("creating"), None));
    let path = format!("/block/snapshots/{}", made["id"].as_str().unwrap());
    assert_eq!(delete(&soda, &path).await.0, 400, "one that is being made cannot be deleted");
    let from = json!({"name": "copy", "size": 1, "snapshotId": made["id"]});
    let (status, refused) = post(&soda, "/block/volumes", from.clone()).await;
    assert_eq!(status, 400);
    assert!(
        refused["message"].as_str().unwrap().ends_with("only if the snapshot is available, the volume can be created")
    );
    soda.advance();
    let (_, shown) = get(&soda, &path).await;
    assert_eq!(
        (&shown["status"], &shown["size"], &shown["profileId"]),
        (&json!("available"), &json!(1), &made["profileId"])
    );
    assert_eq!(post(&soda, "/block/volumes", from).await.0, 202);
    for (query, expected) in [(format!("volumeId={id}"), 1), ("volumeId=x".into(), 0), ("name=nightly".into(), 1)] {
        let (_, list) = get(&soda, &format!("/block/snapshots?{query}")).await;
        assert_eq!(list.as_array().unwrap().len(), expected, "{query}");
    }
    let (status, refused) = delete(&soda, &format!("/block/volumes/{id}")).await;
    let words = format!("delete volume failed: volume {id} can not be deleted, because it still has snapshots");
    assert_eq!((status, &refused["message"]), (400, &json!(words)));

    soda.next(Change::SnapshotDeletion, Conduct::Fails);
    for expected in ["errorDeleting", "gone"] {
        assert_eq!(delete(&soda, &path).await, (202, Value::Null));
        soda.advance();
        let (status, shown) = get(&soda, &path).await;
        assert!(shown["status"] == expected || status == 404 && expected == "gone", "{shown}");
    }
}

#[tokio::test]
async fn snapshots_are_refused_without_a_volume_that_can_be_read() {
    let soda = Soda::start_with(Pace::Steps).await;
    let (_, young) = post(&soda, "/block/volumes", json!({"name": "a", "size": 1})).await;
    for (body, words) in [
        (json!({"volumeId": "x"}), "/name\":Property 'name' is missing"),
        (json!({"name": "s", "volumeId": "x", "profileId": null}), "/profileId\":Value is not nullable"),
        (json!({"name": "s", "volumeId": "x"}), "volume x not found"),
        (json!({"name": "s", "volumeId": young["id"]}), "only the status of volume is available or in-use"),
    ] {
        let (status, refused) = post(&soda, "/block/snapshots", body).await;
        assert!(status == 400 && refused["message"].as_str().unwrap().contains(words), "{words}: {refused}");
    }
    assert_eq!(soda.made().snapshots, 0);
}

#[tokio::test]
async fn hosts_profiles_pools_and_zones_are_told() {
    let soda = Soda::start().await;
    let body = json!({"hostName": "db", "ip": "192.0.2.7", "osType": "linux", "accessMode": "agentless"});
    let (status, made) = post(&soda, "/host/hosts", body.clone()).await;
    assert_eq!((status, &made["hostName"]), (200, &json!("db")));
    assert_eq!(post(&soda, "/host/hosts", body).await.0, 200, "names are not unique there");
    assert_eq!(get(&soda, "/host/hosts?hostName=x").await.1.as_array().unwrap().len(), 2, "the query is ignored");
    let path = format!("/host/hosts/{}", made["id"].as_str().unwrap());
    assert_eq!(
        (get(&soda, &path).await.0, delete(&soda, &path).await.0, delete(&soda, &path).await.0),
        (200, 200, 400)
    );
    assert_eq!(post(&soda, "/host/hosts", json!({"hostName": "db"})).await.0, 400);

    let gold = json!({"name": "gold", "storageType": "block"});
    let (status, made) = post(&soda, "/profiles", gold.clone()).await;
    assert_eq!(status, 200);
    let (status, refused) = post(&soda, "/profiles", gold).await;
    let words = "create profile failed: the profile name 'gold' already exists";
    assert_eq!((status, &refused["message"]), (400, &json!(words)));
    assert_eq!(get(&soda, "/profiles?name=gold").await.1[0]["id"], made["id"]);
    assert_eq!(get(&soda, "/profiles/nothing").await.0, 404);
    assert_eq!(get(&soda, "/pools").await.1[0]["freeCapacity"], 1000);
    assert_eq!(get(&soda, "/availabilityZones").await.1[0]["name"], "default");
}

#[tokio::test]
async fn keys_are_spelled_as_the_release_spells_them() {
    let soda = Soda::start().await;
    let path = format!("/block/volumes/{}", volume(&soda).await);
    for (spelling, key) in
        [(Spelling::Released, "AttachStatus"), (Spelling::Camel, "attachStatus"), (Spelling::Capital, "AttachStatus")]
    {
        soda.spell(spelling);
        let (_, shown) = get(&soda, &path).await;
        assert!(shown.get(key).is_some(), "{spelling:?}: {shown}");
        assert_eq!(shown.get("Id").is_some(), spelling == Spelling::Capital);
    }
}

#[tokio::test]
async fn a_fault_strikes_the_nth_request_before_or_after_its_effect() {
    let soda = Soda::start().await;
    let make = || ask(&soda, Method::POST, "/block/volumes", Some(json!({"name": "a", "size": 1})));

    soda.fault(Fault::on("POST", "/block/volumes", Trouble::Status(500)).nth(2));
    assert_eq!(make().await.unwrap().0, 202);
    assert_eq!(make().await.unwrap(), (500, json!({"code": 500, "message": "the service is in trouble"})));
    assert_eq!((make().await.unwrap().0, soda.made().volumes), (202, 2));

    soda.fault(Fault::on("POST", "/block/volumes", Trouble::Status(500)).after_effect());
    assert_eq!((make().await.unwrap().0, soda.made().volumes), (500, 3));
    soda.fault(Fault::on("POST", "/block/volumes", Trouble::Drop));
    assert_eq!((make().await, soda.made().volumes), (None, 3));
    soda.fault(Fault::on("POST", "/block/volumes", Trouble::Drop).after_effect());
    assert_eq!((make().await, soda.made().volumes), (None, 4));
    assert_eq!(soda.requests_to("POST", "/block/volumes").len(), 6);

    soda.fault(Fault::on("", "/block", Trouble::Garbled).times(2));
    assert_eq!((make().await, make().await), (Some((200, Value::Null)), Some((200, Value::Null))));
    soda.fault(Fault::on("GET", "", Trouble::Empty));
    assert_eq!((make().await.unwrap().0, get(&soda, "/block/volumes").await), (202, (200, json!([]))));
}

#[tokio::test]
async fn a_hanging_request_has_had_its_effect_and_never_answers() {
    let soda = Soda::start().await;
    soda.fault(Fault::on("POST", "/block/volumes", Trouble::Hang).after_effect());
    let hanging = ask(&soda, Method::POST, "/block/volumes", Some(json!({"name": "a", "size": 1})));
    let seen = async {
        while soda.made().volumes == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = hanging => panic!("it answered: {answer:?}"),
        () = seen => {}
    }
    assert_eq!(get(&soda, "/block/volumes").await.1.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn without_the_token_nothing_is_done() {
    let soda = Soda::start().await;
    tls_ready();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}/block/volumes", soda.url)).json(&json!({"name": "a", "size": 1}));
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), soda.made().volumes), (401, 0));
}

#[tokio::test]
async fn requests_are_kept_as_they_came() {
    let soda = Soda::start().await;
    get(&soda, "/block/volumes?name=two%20words").await;
    post(&soda, "/block/volumes", json!({"name": "a"})).await;
    let requests = soda.requests();
    let first: &Seen = &requests[0];
    assert_eq!((first.method.as_str(), first.path.as_str()), ("GET", "/block/volumes"));
    assert_eq!(first.query, [("name".to_owned(), "two words".to_owned())]);
    assert_eq!((first.header("x-auth-token"), &first.body), (Some(TOKEN), &Value::Null));
    assert_eq!(requests[1].body, json!({"name": "a"}));
}

#[tokio::test]
async fn changes_end_by_themselves_where_the_pace_is_time() {
    let soda = Soda::start_with(Pace::After(MOMENT)).await;
    let (_, made) = post(&soda, "/block/volumes", json!({"name": "a", "size": 1})).await;
    let path = format!("/block/volumes/{}", made["id"].as_str().unwrap());
    let ended = async { while state(&soda, &path).await != "available" {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("it becomes available by itself");
}
