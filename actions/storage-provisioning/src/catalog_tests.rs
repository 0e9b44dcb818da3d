//! Each case: what the API answers, and what the action makes of it.

use orchestrator_sdk::json;
use orchestrator_sdk::testing::{Outside, Reply};

use super::*;

fn named(name: &str) -> ByName {
    ByName { name: Some(name.to_owned()) }
}

#[test]
fn profiles_are_listed_by_name_and_read() {
    let profile = |id: &str, name: &str| json!({"id": id, "name": name, "storageType": "block", "description": ""});
    let outside = Outside::new();
    let both = json!([profile("p-2", "silver"), profile("p-1", "gold")]);
    outside.expect("GET", "/profiles?limit=50&offset=0", Reply::json(200, both.clone()));
    outside.expect("GET", "/profiles?name=gold&limit=50&offset=0", Reply::json(200, both));
    outside.expect("GET", "/profiles/p-1", Reply::json(200, profile("p-1", "gold")));
    outside.expect("GET", "/profiles/p-9", Reply::json(404, json!({"code": 404, "message": "not found"})));
    let ids = |found: Profiles| found.profiles.into_iter().map(|profile| profile.id).collect::<Vec<_>>();
    assert_eq!(ids(list_profiles(&outside.context(), ByName::default()).unwrap()), ["p-1", "p-2"]);
    assert_eq!(ids(list_profiles(&outside.context(), named("gold")).unwrap()), ["p-1"]);
    let id = |id: &str| ProfileId { profile_id: id.to_owned() };
    assert_eq!(get_profile(&outside.context(), id("p-1")).unwrap().name.as_deref(), Some("gold"));
    assert_eq!(get_profile(&outside.context(), id("p-9")).unwrap_err().problem.status, 404);
}

#[test]
fn pools_are_listed_with_what_is_free() {
    let outside = Outside::new();
    let pool = json!({"id": "o-1", "name": "lvm", "status": "available", "freeCapacity": 7, "totalCapacity": 9});
    outside.expect("GET", "/pools?name=lvm&limit=50&offset=0", Reply::json(200, json!([pool])));
    let pools = list_pools(&outside.context(), named("lvm")).unwrap().pools;
    assert_eq!((pools[0].free_capacity, pools[0].total_capacity), (Some(7), Some(9)));
}

#[test]
fn zones_are_read_as_names_and_as_objects() {
    for body in [json!(["b", "a"]), json!([{"id": "1", "name": "b"}, {"id": "2", "Name": "a"}])] {
        let outside = Outside::new();
        outside.expect("GET", "/availabilityZones?limit=50&offset=0", Reply::json(200, body));
        let zones = list_availability_zones(&outside.context(), Everything {}).unwrap().availability_zones;
        assert_eq!(zones.iter().map(|zone| zone.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}

#[test]
fn an_entry_that_is_none_is_told_as_a_wrong_connection() {
    let outside = Outside::new();
    outside.expect("GET", "/profiles?limit=50&offset=0", Reply::json(200, json!([{"kind": "Pod"}])));
    let error = list_profiles(&outside.context(), ByName::default()).unwrap_err();
    assert_eq!(error.problem.status, 502);
    assert!(error.problem.detail.contains("check that the connection is the block API"), "{error}");
}
