//! Bearer tokens of an OIDC issuer (OpenID Connect Discovery 1.0, RFC 7519): finds its keys, keeps them for a bounded time,
//! fetches them again where a token names one that is not known, and turns claims into a principal.
//!
//! An issuer that is down stops nobody whose key is known already. Who comes with an unknown one is told to come again.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use url::Url;

use super::fetch::Fetch;
use super::jwt::{self, Algorithm, Key, Unproved};
use super::settings::OidcSettings;
use super::{Claimed, Refused};
use crate::clock::Clock;
use crate::model::{Json, Role, TenantName};

/// Keys are fetched again after so long, in the background: a key that the issuer took back is used no longer than this
/// while the issuer answers.
const KEYS_FRESH: SignedDuration = SignedDuration::from_mins(15);

/// Keys are not used any more after so long without a word from their issuer.
const KEYS_GOOD: SignedDuration = SignedDuration::from_hours(24);

/// The issuer is asked at most so often, whatever is named in tokens.
const ASKED_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// Characters of a subject, at most (OpenID Connect Core 1.0, section 2: 255).
const SUBJECT_CHARACTERS_MAX: usize = 255;

/// Values of a claim that are looked at, at most.
const VALUES_MAX: usize = 1_000;

/// One issuer.
pub(super) struct Issuer {
    settings: OidcSettings,
    fetch: Fetch,
    clock: Arc<dyn Clock>,
    keys: RwLock<Keys>,
    /// Held while the issuer is asked, so that it is asked once.
    asking: Mutex<()>,
}

#[derive(Default, Clone)]
struct Keys {
    keys: Arc<Vec<Key>>,
    fetched: Option<Timestamp>,
    asked: Option<Timestamp>,
    /// Why the last try failed.
    failure: Option<String>,
}

impl Issuer {
    pub(super) fn new(settings: OidcSettings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, String> {
        let fetch = Fetch::new(settings.ca_certificates.as_deref())?;
        Ok(Arc::new(Self { settings, fetch, clock, keys: RwLock::default(), asking: Mutex::default() }))
    }

    /// Whether it is the one that a token claims.
    pub(super) fn is(&self, issuer: &str) -> bool {
        self.settings.issuer == issuer
    }

    /// Who a token stands for.
    pub(super) async fn authenticate(self: &Arc<Self>, token: Unproved<'_>) -> Result<Claimed, Refused> {
        let algorithm = token.header.algorithm().filter(|algorithm| self.settings.algorithms.contains(algorithm));
        let Some(algorithm) = algorithm else {
            return Err(Refused::Invalid("the token's signature is of a kind that is not accepted".to_owned()));
        };
        let claims = self.proved(token, algorithm).await?;
        let now = self.clock.now().as_second();
        jwt::check(&claims, self.settings.audiences.iter(), now, self.settings.clock_skew)
            .map_err(|reason| Refused::Invalid(reason.to_owned()))?;
        self.claimed(&claims)
    }

    async fn proved(self: &Arc<Self>, token: Unproved<'_>, algorithm: Algorithm) -> Result<Json, Refused> {
        let wrong = || Refused::Invalid("the token's signature is wrong".to_owned());
        let mut keys = self.known();
        if !keys.keys.iter().any(|key| key.fits(&token.header)) {
            self.ask().await;
            keys = self.known();
        } else if keys.fetched.is_none_or(|fetched| self.clock.now().duration_since(fetched) >= KEYS_FRESH) {
            let issuer = self.clone();
            tokio::spawn(async move { issuer.ask().await });
        }
        let fitting: Vec<&Key> = keys.keys.iter().filter(|key| key.fits(&token.header)).collect();
        if let (true, Some(failure)) = (fitting.is_empty(), &keys.failure) {
            let cure =
                format!("the token's key is not known, and its issuer cannot be asked: {failure}; try again soon");
            return Err(Refused::Unavailable(cure));
        }
        // Without a name in the token, several keys of its kind may fit.
        fitting.into_iter().find_map(|key| token.clone().prove(key, algorithm)).ok_or_else(wrong)
    }

    /// The keys at hand, without those that are too old.
    fn known(&self) -> Keys {
        let mut keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        if keys.fetched.is_none_or(|fetched| self.clock.now().duration_since(fetched) >= KEYS_GOOD) {
            keys.keys = Arc::default();
        }
        keys
    }

    /// Fetches the keys, unless that was tried just now.
    async fn ask(&self) {
        let _asking = self.asking.lock().await;
        let now = self.clock.now();
        let asked = self.keys.read().unwrap_or_else(PoisonError::into_inner).asked;
        if asked.is_some_and(|asked| now.duration_since(asked) < ASKED_EVERY) {
            return;
        }
        let fetched = self.fetched().await;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.asked = Some(now);
        match fetched {
            Ok(new) => (keys.keys, keys.fetched, keys.failure) = (Arc::new(new), Some(now), None),
            Err(failure) => {
                tracing::warn!(issuer = self.settings.issuer, failure, "cannot fetch an issuer's keys");
                keys.failure = Some(failure);
            }
        }
    }

    async fn fetched(&self) -> Result<Vec<Key>, String> {
        let issuer = self.settings.issuer.trim_end_matches('/');
        let url = Url::parse(&format!("{issuer}/.well-known/openid-configuration"));
        let metadata = self.fetch.json(url.map_err(|error| error.to_string())?).await?;
        if metadata.get("issuer").and_then(Json::as_str) != Some(&self.settings.issuer) {
            return Err("its metadata names another issuer".to_owned());
        }
        let place = metadata.get("jwks_uri").and_then(Json::as_str).and_then(|text| Url::parse(text).ok());
        let place = place.filter(|url| url.scheme() == "https" || issuer.starts_with("http://"));
        let set = self.fetch.json(place.ok_or("its metadata names no `jwks_uri` by https")?).await?;
        match jwt::keys(&set) {
            none if none.is_empty() => Err("its key set has no key that is understood".to_owned()),
            keys => Ok(keys),
        }
    }

    fn claimed(&self, claims: &Json) -> Result<Claimed, Refused> {
        let subject = claim(claims, &self.settings.subject_claim).and_then(Json::as_str).unwrap_or_default();
        let fits = (1..=SUBJECT_CHARACTERS_MAX).contains(&subject.chars().count());
        if !fits || subject.chars().any(char::is_control) {
            let text = format!("the token does not say who it is for (`{}`)", self.settings.subject_claim);
            return Err(Refused::Invalid(text));
        }
        Ok(Claimed {
            subject: format!("oidc:{}|{subject}", self.settings.issuer),
            tenant: self.tenant(claims)?,
            roles: self.roles(claims),
        })
    }

    fn tenant(&self, claims: &Json) -> Result<TenantName, Refused> {
        let named = self.settings.tenant_claim.as_ref().and_then(|name| claim(claims, name));
        let by_claim =
            named.map(values).unwrap_or_default().into_iter().find_map(|value| self.settings.tenants.get(value));
        let tenant = by_claim.cloned().or_else(|| self.settings.tenant.clone());
        let tenant = tenant.or_else(|| self.settings.tenant_claim.is_none().then(TenantName::standard));
        tenant.ok_or_else(|| Refused::Forbidden("the token is of no tenant of this server".to_owned()))
    }

    fn roles(&self, claims: &Json) -> BTreeSet<Role> {
        let named = claim(claims, &self.settings.roles_claim).map(values).unwrap_or_default();
        let given = named.into_iter().filter_map(|value| self.settings.roles.get(value)).flatten();
        given.chain(&self.settings.default_roles).copied().collect()
    }
}

/// A claim by its name, or by a JSON pointer.
fn claim<'c>(claims: &'c Json, name: &str) -> Option<&'c Json> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// The words of a claim: of a list, or of a text with spaces (RFC 8693, section 4.2).
fn values(claim: &Json) -> Vec<&str> {
    match claim {
        Json::Array(some) => some.iter().filter_map(Json::as_str).take(VALUES_MAX).collect(),
        Json::String(text) => text.split_whitespace().take(VALUES_MAX).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::SystemClock;

    fn issuer(more: &Json) -> Arc<Issuer> {
        let mut settings = json!({ "issuer": "https://issuer.example", "audiences": ["a"] });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Issuer::new(serde_json::from_value(settings).unwrap(), Arc::new(SystemClock)).unwrap()
    }

    #[test]
    fn claims_become_a_subject_a_tenant_and_roles() {
        let issuer = issuer(&json!({
            "rolesClaim": "/realm_access/roles", "roles": { "ops": ["operator", "approver"], "boss": ["tenant-admin"] },
            "defaultRoles": ["viewer"], "tenantClaim": "https://a.example/org", "tenants": { "o-1": "acme" },
        }));
        let claims =
            json!({ "sub": "ann", "realm_access": { "roles": ["ops", "unknown", 7] }, "https://a.example/org": "o-1" });
        let claimed = issuer.claimed(&claims).unwrap();
        assert_eq!(claimed.subject, "oidc:https://issuer.example|ann");
        assert_eq!(claimed.tenant.as_str(), "acme");
        assert_eq!(claimed.roles, BTreeSet::from([Role::Viewer, Role::Operator, Role::Approver]));
    }

    #[test]
    fn a_tenant_that_is_not_mapped_is_nobody_s_and_no_claim_means_the_default() {
        let claims = |org: Json| json!({ "sub": "ann", "org": org });
        let mapped = issuer(&json!({ "tenantClaim": "org", "tenants": { "o-1": "acme" } }));
        assert_eq!(mapped.claimed(&claims(json!(["x", "o-1"]))).unwrap().tenant.as_str(), "acme");
        assert!(matches!(mapped.claimed(&claims(json!("default"))), Err(Refused::Forbidden(_))));
        assert!(matches!(mapped.claimed(&json!({ "sub": "ann" })), Err(Refused::Forbidden(_))));
        assert!(issuer(&json!({})).claimed(&claims(json!("o-1"))).unwrap().tenant.is_standard());
        let fixed = issuer(&json!({ "tenant": "acme" }));
        assert_eq!(fixed.claimed(&claims(json!("o-1"))).unwrap().tenant.as_str(), "acme");
    }

    #[test]
    fn a_role_of_ours_is_given_only_where_the_settings_say_so() {
        let claimed = issuer(&json!({})).claimed(&json!({ "sub": "ann", "roles": ["server-admin"] })).unwrap();
        assert!(claimed.roles.is_empty());
        let text = issuer(&json!({ "rolesClaim": "scope", "roles": { "a:b": ["viewer"] } }));
        assert_eq!(
            text.claimed(&json!({ "sub": "a", "scope": "x a:b" })).unwrap().roles,
            BTreeSet::from([Role::Viewer])
        );
    }

    #[test]
    fn a_token_must_say_who_it_is_for() {
        for bad in [
            json!({}),
            json!({ "sub": "" }),
            json!({ "sub": 7 }),
            json!({ "sub": "a\nb" }),
            json!({ "sub": "x".repeat(256) }),
        ] {
            assert!(matches!(issuer(&json!({})).claimed(&bad), Err(Refused::Invalid(_))), "{bad}");
        }
    }

    mod keys;
}
