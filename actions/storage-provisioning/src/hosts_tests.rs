//! Each case: what the API answers, and what the action makes of it.

use orchestrator_sdk::testing::{Outside, Reply};
use orchestrator_sdk::{Reaction, json};

use super::*;

const LIST: &str = "/host/hosts?hostName=db-01&limit=50&offset=0";
const ONE: &str = "/host/hosts/h-1";

fn input(more: Json) -> CreateHost {
    let mut input = json!({"hostName": "db-01", "ip": "192.0.2.7"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(input).unwrap()
}

fn host(id: &str) -> Json {
    json!({
        "id": id, "createdAt": "2021-04-16T15:39:59", "updatedAt": "", "tenantId": "t", "hostName": "db-01",
        "osType": "linux", "accessMode": "agentless", "ip": "192.0.2.7", "availabilityZones": ["default"],
        "initiators": [{"portName": "iqn.1993-08.org.debian:01:db", "protocol": "iscsi"}]
    })
}

fn fault(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"code": status, "message": message}))
}

#[test]
fn a_host_is_registered_with_what_the_api_requires_and_without_null() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([])));
    outside.expect("POST", HOSTS, Reply::json(200, host("h-1")));
    let ctx = outside.context();
    let made = create_host(&ctx, input(json!({"osType": null, "initiators": null}))).unwrap();
    assert_eq!((made.id.as_str(), made.availability_zones), ("h-1", vec!["default".to_owned()]));
    let sent = json!({
        "hostName": "db-01", "ip": "192.0.2.7", "osType": "linux", "accessMode": "agentless",
        "availabilityZones": ["default"]
    });
    assert_eq!(outside.requests()[1].json(), sent);
    assert_eq!(ctx.left_receipt(), Some(json!({"hostId": "h-1"})));
}

#[test]
fn everything_given_reaches_the_api_under_its_own_names() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([])));
    outside.expect("POST", HOSTS, Reply::json(200, host("h-1")));
    let initiators = json!([{"portName": "iqn.x", "protocol": "iscsi"}]);
    let all = json!({
        "osType": "esxi", "accessMode": "agent", "availabilityZones": ["a", "b"], "initiators": initiators
    });
    create_host(&outside.context(), input(all)).unwrap();
    let sent = json!({
        "hostName": "db-01", "ip": "192.0.2.7", "osType": "esxi", "accessMode": "agent",
        "availabilityZones": ["a", "b"], "initiators": initiators
    });
    assert_eq!(outside.requests()[1].json(), sent);
}

#[test]
fn a_name_that_is_taken_gives_its_host_also_where_the_service_ignores_the_query() {
    let outside = Outside::new();
    let mut other = host("h-0");
    other["hostName"] = json!("db-011");
    outside.expect("GET", LIST, Reply::json(200, json!([other, host("h-1")])));
    let ctx = outside.context();
    assert_eq!(create_host(&ctx, input(json!({}))).unwrap().id, "h-1");
    assert_eq!((ctx.left_receipt(), ctx.left_resources()), (None, vec![]), "nothing was made that could be taken back");
}

#[test]
fn a_name_that_belongs_to_another_machine_is_a_conflict() {
    for (more, words) in [
        (json!({"ip": "192.0.2.8"}), "its address is `192.0.2.7`, not `192.0.2.8`"),
        (json!({"osType": "windows"}), "its system is `linux`, not `windows`"),
        (json!({"availabilityZones": ["default", "b"]}), "it is not in the availability zone `b`"),
    ] {
        let outside = Outside::new();
        outside.expect("GET", LIST, Reply::json(200, json!([host("h-1")])));
        let error = create_host(&outside.context(), input(more)).unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 409));
        assert!(error.problem.detail.contains(words), "{error}");
    }
}

#[test]
fn failures_of_registering_are_sorted_by_what_the_engine_does_next() {
    let again = Reaction::Transient { retry_after: None };
    for (reply, reaction, status) in [
        (fault(400, "create host failed: x"), Reaction::Permanent, 400),
        (fault(401, "no token"), Reaction::Permanent, 401),
        (fault(403, "not yours"), Reaction::Permanent, 403),
        (fault(409, "conflict"), Reaction::Permanent, 409),
        (fault(429, "slow down"), again, 429),
        (fault(500, "boom"), Reaction::Unknown, 500),
        (fault(503, "starting"), again, 503),
        (Reply::bytes(200, "not json"), Reaction::Unknown, 502),
        (Reply::timeout(), Reaction::Unknown, 504),
        (Reply::interrupted(), Reaction::Unknown, 502),
        (Reply::unavailable(), again, 503),
    ] {
        let outside = Outside::new();
        outside.expect("GET", LIST, Reply::json(200, json!([])));
        outside.expect("POST", HOSTS, reply);
        let error = create_host(&outside.context(), input(json!({}))).unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (reaction, status), "{error}");
    }
}

#[test]
fn the_probe_finds_the_host_whose_answer_was_lost_and_undo_takes_it_back() {
    let outside = Outside::new();
    outside.expect("GET", LIST, Reply::json(200, json!([host("h-1")])));
    outside.expect("GET", LIST, Reply::json(200, json!([])));
    outside.expect("DELETE", ONE, Reply::status(200));
    outside.expect("DELETE", ONE, fault(404, "gone"));
    outside.expect("DELETE", ONE, fault(400, "delete host failed: host h-1 not found"));
    outside.expect("GET", ONE, fault(404, "gone"));
    outside.expect("DELETE", ONE, fault(400, "delete host failed: it is in use"));
    outside.expect("GET", ONE, Reply::json(200, host("h-1")));
    let ctx = outside.context();
    let Finding::Done(found) = probe_create_host(&ctx, input(json!({}))).unwrap() else { panic!("it is there") };
    assert_eq!((found.id.as_str(), ctx.left_receipt()), ("h-1", Some(json!({"hostId": "h-1"}))));
    assert_eq!(probe_create_host(&outside.context(), input(json!({}))).unwrap(), Finding::NotDone);
    let receipt = HostId { host_id: "h-1".to_owned() };
    for _ in 0..3 {
        undo_create_host(&outside.context(), receipt.clone()).unwrap();
    }
    assert_eq!(undo_create_host(&outside.context(), receipt).unwrap_err().problem.status, 400);
}

#[test]
fn hosts_are_listed_and_read() {
    let outside = Outside::new();
    outside.expect("GET", "/host/hosts?limit=50&offset=0", Reply::json(200, json!([host("h-2"), host("h-1")])));
    outside.expect("GET", ONE, Reply::json(200, host("h-1")));
    outside.expect("GET", ONE, fault(404, "host h-1 not found"));
    let hosts = list_hosts(&outside.context(), ListHosts::default()).unwrap().hosts;
    assert_eq!(hosts.iter().map(|host| host.id.as_str()).collect::<Vec<_>>(), ["h-1", "h-2"]);
    let id = || HostId { host_id: "h-1".to_owned() };
    assert_eq!(get_host(&outside.context(), id()).unwrap().os_type.as_deref(), Some("linux"));
    assert_eq!(get_host(&outside.context(), id()).unwrap_err().problem.status, 404);
}

#[test]
fn a_service_that_ignores_the_page_does_not_repeat_its_hosts_for_ever() {
    let outside = Outside::new();
    let fifty: Vec<_> = (0..50).map(|number| host(&format!("h-{number}"))).collect();
    outside.expect("GET", "/host/hosts?limit=50&offset=0", Reply::json(200, json!(fifty)));
    outside.expect("GET", "/host/hosts?limit=50&offset=50", Reply::json(200, json!(fifty)));
    assert_eq!(list_hosts(&outside.context(), ListHosts::default()).unwrap().hosts.len(), 50);
}
