//! Who is let in, by which means, in which tenant.

use serde_json::json;

use super::settings::AuditSettings;
use super::tokens::NewToken;
use super::*;
use crate::clock::SimClock;
use crate::journal::memory::MemoryJournal;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn required() -> IdentitySettings {
    let audit = AuditSettings { enabled: true, entries: 1_000, days: 1 };
    IdentitySettings { authentication: Mode::Required, audit, ..IdentitySettings::default() }
}

fn open(settings: IdentitySettings) -> Arc<Identity> {
    let clock = Arc::new(SimClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
    let keys = IdentityKeys { tokens: [1; 32], audit: [2; 32] };
    Identity::open(Arc::new(MemoryJournal::new()), clock, &keys, settings).unwrap()
}

async fn token(identity: &Identity, tenant: &str, role: Role) -> Zeroizing<String> {
    let new = NewToken {
        name: TokenName::parse(&format!("{role}")).unwrap(),
        tenant: TenantName::parse(tenant).unwrap(),
        roles: BTreeSet::from([role]),
        services: None,
        expires_at: None,
        created_by: None,
    };
    identity.tokens.create(new).await.unwrap().1
}

#[tokio::test]
async fn the_first_admin_token_is_made_once_and_opens_everything() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let identity = open(IdentitySettings { admin_token_file: Some(file.clone()), ..required() });
    let text = identity.first_admin_token().await.unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), text.as_str());
    assert_eq!(identity.first_admin_token().await.unwrap(), None);
    let person = identity.authenticate(Presented::Bearer(&text), HERE).await.unwrap();
    assert_eq!((person.principal.subject.as_str(), person.means), ("token:admin", Means::Token));
    assert!(person.principal.roles.contains(&Role::ServerAdmin));
    let again = identity.new_admin_token().await.unwrap();
    assert!(identity.authenticate(Presented::AuthToken(&again), HERE).await.is_ok());
    assert!(matches!(identity.authenticate(Presented::Bearer(&text), HERE).await, Err(Refused::Invalid(_))));
    assert_eq!(open(IdentitySettings::default()).first_admin_token().await.unwrap(), None);
}

#[tokio::test]
async fn nobody_gets_in_without_proof_and_who_guesses_has_to_wait() {
    let identity = open(required());
    let good = token(&identity, "default", Role::Viewer).await;
    assert_eq!(identity.authenticate(Presented::Nothing, HERE).await, Err(Refused::Missing));
    let none = token_text::draw();
    for text in ["", "orc_", "eyJ.a.b", &none] {
        assert!(
            matches!(identity.authenticate(Presented::Bearer(text), HERE).await, Err(Refused::Invalid(_))),
            "{text}"
        );
        assert!(
            matches!(identity.authenticate(Presented::AuthToken(text), HERE).await, Err(Refused::Invalid(_))),
            "{text}"
        );
    }
    for _ in 0..throttle::FAILURES_MAX {
        let _ = identity.authenticate(Presented::Bearer(&none), HERE).await;
    }
    assert!(matches!(identity.authenticate(Presented::Bearer(&none), HERE).await, Err(Refused::TooOften(_))));
    assert!(identity.authenticate(Presented::Bearer(&good), HERE).await.is_ok(), "who is right is not held up");
}

#[tokio::test]
async fn a_tenant_that_is_closed_or_gone_lets_nobody_in() {
    let identity = open(required());
    let acme = TenantName::parse("acme").unwrap();
    let text = token(&identity, "acme", Role::TenantAdmin).await;
    let ask = async || identity.authenticate(Presented::Bearer(&text), HERE).await;
    assert!(matches!(ask().await, Err(Refused::Forbidden(_))));
    identity.tenants.put(acme.clone(), None, true).await.unwrap();
    assert!(ask().await.is_ok());
    identity.tenants.put(acme, None, false).await.unwrap();
    assert!(matches!(ask().await, Err(Refused::Forbidden(_))));
}

#[tokio::test]
async fn only_a_server_admin_chooses_a_tenant_and_others_learn_nothing_of_them() {
    let identity = open(required());
    identity.tenants.put(TenantName::parse("acme").unwrap(), None, true).await.unwrap();
    let person = async |role| {
        let text = token(&identity, "default", role).await;
        identity.authenticate(Presented::Bearer(&text), HERE).await.unwrap()
    };
    let admin = person(Role::TenantAdmin).await;
    assert_eq!(identity.in_tenant(admin.clone(), "default"), Ok(admin.clone()));
    let foreign = identity.in_tenant(admin.clone(), "acme").unwrap_err();
    assert_eq!(identity.in_tenant(admin.clone(), "nobody").unwrap_err(), foreign);
    assert_eq!(identity.in_tenant(admin, "no label!").unwrap_err(), foreign);
    let server = person(Role::ServerAdmin).await;
    assert_eq!(identity.in_tenant(server.clone(), "acme").unwrap().principal.tenant.as_str(), "acme");
    assert!(matches!(identity.in_tenant(server, "nobody"), Err(Refused::Forbidden(_))));
}

#[tokio::test]
async fn a_token_of_an_issuer_that_is_not_set_up_is_refused_without_asking_anybody() {
    let issuer = json!({ "issuer": "https://issuer.invalid", "audiences": ["a"] });
    let identity = open(IdentitySettings { oidc: vec![serde_json::from_value(issuer).unwrap()], ..required() });
    use base64::Engine as _;
    let part = |value: Json| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    use crate::model::Json;
    let text = format!("{}.{}.AAAA", part(json!({ "alg": "RS256" })), part(json!({ "iss": "https://other.invalid" })));
    let refused = identity.authenticate(Presented::Bearer(&text), HERE).await.unwrap_err();
    assert_eq!(refused, Refused::Invalid("the token's issuer is not known here".to_owned()));
}
