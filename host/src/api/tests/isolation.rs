//! Who may do what, over every operation of the interface's own document: each role, in the tenant that something belongs to
//! and in another one. A route that is new is in here by itself; one without a row in the table of permissions is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::api::openapi;
use crate::api::permissions::{self, Found, Need};
use crate::identity::settings::{AuditSettings, Mode};
use crate::identity::tokens::NewToken;
use crate::model::{Permission, Principal, Role, TenantName, TokenName};

fn required() -> IdentitySettings {
    let audit = AuditSettings { enabled: true, entries: 100_000, days: 1 };
    IdentitySettings { authentication: Mode::Required, audit, ..IdentitySettings::default() }
}

/// Somebody with a token, or nobody.
struct Person {
    name: String,
    role: Option<Role>,
    tenant: &'static str,
    token: String,
}

struct Bench {
    server: Server,
    people: Vec<Person>,
    /// An instance in `default` that the operator there started, ended.
    owned: String,
}

impl Bench {
    async fn new() -> Self {
        let server = Server::with(required()).await;
        server.rooms.identity.tenants.put(TenantName::parse("other").unwrap(), None, true).await.unwrap();
        let mut people =
            vec![Person { name: "nobody".to_owned(), role: None, tenant: "default", token: String::new() }];
        for (tenant, before) in [("default", ""), ("other", "o-")] {
            for role in Role::ALL {
                let name = format!("{before}{role}");
                let token = token(&server, &name, tenant, role).await;
                people.push(Person { name, role: Some(role), tenant, token });
            }
        }
        let mut bench = Self { server, people, owned: String::new() };
        let order = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
        let started = bench.ask("operator", "POST", "/v1/instances?wait=30", order).await;
        assert_eq!(started.status, StatusCode::CREATED, "{:?}", started.body);
        bench.owned = started.json()["id"].as_str().unwrap().to_owned();
        bench
    }

    fn person(&self, name: &str) -> &Person {
        self.people.iter().find(|person| person.name == name).unwrap()
    }

    async fn ask(&self, name: &str, method: &str, path: &str, body: Json) -> Answer {
        self.ask_as(self.person(name), method, path, body).await
    }

    async fn ask_as(&self, person: &Person, method: &str, path: &str, body: Json) -> Answer {
        let bearer = format!("Bearer {}", person.token);
        let mut headers = vec![("content-type", "application/json")];
        if !person.token.is_empty() {
            headers.push(("authorization", bearer.as_str()));
        }
        self.server.ask(method, path, &headers, body.to_string()).await
    }
}

async fn token(server: &Server, name: &str, tenant: &str, role: Role) -> String {
    let new = NewToken {
        name: TokenName::parse(name).unwrap(),
        tenant: TenantName::parse(tenant).unwrap(),
        roles: BTreeSet::from([role]),
        services: None,
        expires_at: None,
        created_by: None,
    };
    server.rooms.identity.tokens.create(new).await.unwrap().1.to_string()
}

/// Every operation of the document: method and path.
fn operations() -> Vec<(String, String)> {
    let document = serde_json::to_value(openapi::document()).unwrap();
    let of = |(path, item): (&String, &Json)| {
        let given = ["get", "put", "post", "delete", "patch"].into_iter().filter(|method| item.get(*method).is_some());
        given.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    document["paths"].as_object().unwrap().iter().flat_map(of).collect()
}

fn need(method: &str, path: &str) -> Option<Need> {
    match permissions::find(&Method::try_from(method).unwrap(), path) {
        Found::Rule(rule) => Some(rule.need),
        Found::NoMethod | Found::Nothing => None,
    }
}

#[test]
fn each_operation_has_a_row_and_its_name() {
    let document = serde_json::to_value(openapi::document()).unwrap();
    for (method, path) in operations() {
        let Found::Rule(rule) = permissions::find(&Method::try_from(method.as_str()).unwrap(), &path) else {
            panic!("{method} {path} has no row in api/permissions.rs");
        };
        let named = &document["paths"][&path][method.to_lowercase()]["operationId"];
        assert!(rule.path.is_empty() || named == rule.operation, "{method} {path}: {named} is not {}", rule.operation);
    }
}

/// A path that names the instance of `default`, and otherwise what does not exist.
fn filled(path: &str, instance: &str) -> String {
    let (mut filled, mut before) = (String::new(), "");
    for segment in path.split('/').skip(1) {
        let value = match (segment.starts_with('{'), before) {
            (true, "instances" | "tasks") => instance,
            (true, "v1beta") => "default",
            (true, _) if segment == "{version}" => "1.0.0",
            (true, _) if segment == "{id}" => "0199c1f0-0000-7000-8000-000000000000",
            (true, _) => "nothing",
            (false, _) => segment,
        };
        filled = format!("{filled}/{value}");
        before = segment;
    }
    filled
}

/// What the table promises: a refusal for want of proof or of a role, a thing that is hidden, or none of these.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Expected {
    Unauthenticated,
    Forbidden,
    Hidden,
    LetIn,
}

fn expected(need: Need, path: &str, person: &Person) -> Expected {
    if need == Need::Public || (need == Need::Optional && person.role.is_none()) {
        return Expected::LetIn;
    }
    let Some(role) = person.role else { return Expected::Unauthenticated };
    let (is_server, names_tenant) = (role == Role::ServerAdmin, path.starts_with("/v1beta/{"));
    if names_tenant && person.tenant != "default" && !is_server {
        return Expected::Forbidden;
    }
    let permissions = need.permissions();
    if !permissions.is_empty() && !permissions.iter().any(|permission| role.gives(*permission)) {
        return Expected::Forbidden;
    }
    let is_home = person.tenant == "default" || (names_tenant && is_server);
    let principal = Principal {
        subject: format!("token:{}", if is_home { &person.name } else { "other/x" }),
        roles: BTreeSet::from([role]),
        ..Principal::anonymous(TenantName::standard())
    };
    let owner = Some("token:operator");
    match need {
        Need::Sees(_) | Need::Steers | Need::Decides if !is_home || !principal.sees(owner) => Expected::Hidden,
        Need::Steers if !principal.steers(owner) => Expected::Forbidden,
        Need::Decides if !principal.may(Permission::Approve) && !principal.steers(owner) => Expected::Forbidden,
        _ => Expected::LetIn,
    }
}

fn seen(need: Need, path: &str, answer: &Answer, expected: Expected) -> Expected {
    if matches!(need, Need::Public | Need::Optional) {
        return expected; // Whatever it answers is its handler's own.
    }
    if path.starts_with("/v1beta/") && answer.status == StatusCode::NOT_FOUND && expected == Expected::Hidden {
        return Expected::Hidden; // That interface does not name kinds of problems.
    }
    let text = String::from_utf8_lossy(&answer.body);
    match answer.status {
        StatusCode::UNAUTHORIZED => Expected::Unauthenticated,
        StatusCode::FORBIDDEN => Expected::Forbidden,
        StatusCode::NOT_FOUND if text.contains("unknown-instance") => Expected::Hidden,
        _ => Expected::LetIn,
    }
}

#[tokio::test]
async fn every_role_in_every_tenant_gets_what_the_table_says_at_every_route() {
    let bench = Bench::new().await;
    bench.server.rooms.stopping.cancel(); // Event streams end at once.
    let (mut wrong, mut cells) = (Vec::new(), BTreeMap::new());
    for (method, path) in operations() {
        let Some(need) = need(&method, &path) else { continue };
        for person in &bench.people {
            let expected = expected(need, &path, person);
            let takes_away = method == "DELETE" && need == Need::Steers;
            if takes_away && expected == Expected::LetIn {
                continue; // Shown by itself below: the instance is needed for the rest.
            }
            let answer = bench.ask_as(person, &method, &filled(&path, &bench.owned), json!({})).await;
            let seen = seen(need, &path, &answer, expected);
            *cells.entry(expected).or_insert(0) += 1;
            if seen != expected {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                wrong.push(format!("{method} {path} as {}: {seen:?} instead of {expected:?}: {text}", person.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cells.len(), 4, "every kind of answer occurs: {cells:?}");
    assert!(cells.values().sum::<i32>() > 500, "{cells:?}");
}

#[tokio::test]
async fn the_owner_and_the_tenant_s_admin_delete_and_nobody_else() {
    let bench = Bench::new().await;
    let path = format!("/v1/instances/{}", bench.owned);
    for name in ["viewer", "approver", "pack-admin"] {
        assert_eq!(bench.ask(name, "DELETE", &path, json!({})).await.problem(), "forbidden", "{name}");
    }
    assert_eq!(bench.ask("o-tenant-admin", "DELETE", &path, json!({})).await.problem(), "unknown-instance");
    assert_eq!(bench.ask("o-server-admin", "DELETE", &path, json!({})).await.problem(), "unknown-instance");
    assert_eq!(bench.ask("operator", "DELETE", &path, json!({})).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_is_hidden_is_answered_like_what_is_not_there() {
    let bench = Bench::new().await;
    let nothing = "0199c1f0-0000-7000-8000-000000000000";
    for path in ["", "/tasks", "/history", "/logs", "/events", "/prefill", "/follow-ups"] {
        let ask = async |id: &str| {
            let answer = bench.ask("o-tenant-admin", "GET", &format!("/v1/instances/{id}{path}"), json!({})).await;
            (answer.status, String::from_utf8_lossy(&answer.body).replace(id, "ID"))
        };
        assert_eq!(ask(&bench.owned).await, ask(nothing).await, "{path}");
    }
}

#[tokio::test]
async fn an_operator_sees_and_steers_only_her_own() {
    let bench = Bench::new().await;
    let order = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
    let started = bench.ask("tenant-admin", "POST", "/v1/instances?wait=30", order).await.json();
    let foreign = format!("/v1/instances/{}", started["id"].as_str().unwrap());
    assert_eq!(bench.ask("operator", "GET", &foreign, json!({})).await.problem(), "unknown-instance");
    let list = bench.ask("operator", "GET", "/v1/instances", json!({})).await.json();
    let ids: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [bench.owned.as_str()]);
    let of = async |name: &str| {
        bench.ask(name, "GET", "/v1/instances", json!({})).await.json()["items"].as_array().unwrap().len()
    };
    assert_eq!((of("viewer").await, of("tenant-admin").await, of("o-viewer").await), (2, 2, 0));
    let mine = bench.ask("tenant-admin", "GET", "/v1/instances?mine=true", json!({})).await.json();
    assert_eq!(mine["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_admin_chooses_a_tenant_and_nobody_else_does() {
    let bench = Bench::new().await;
    let path = format!("/v1/instances/{}", bench.owned);
    let ask = async |name: &str, tenant: &str| {
        let bearer = format!("Bearer {}", bench.person(name).token);
        let headers = [("authorization", bearer.as_str()), ("orchestrator-tenant", tenant)];
        bench.server.ask("GET", &path, &headers, "").await
    };
    assert_eq!(ask("o-server-admin", "default").await.status, StatusCode::OK);
    assert_eq!(ask("server-admin", "other").await.problem(), "unknown-instance");
    assert_eq!(ask("operator", "default").await.status, StatusCode::OK);
    for tenant in ["other", "nobody-s", "no label!"] {
        assert_eq!(ask("tenant-admin", tenant).await.problem(), "forbidden", "{tenant}");
    }
    assert_eq!(ask("o-tenant-admin", "default").await.problem(), "forbidden");
}
