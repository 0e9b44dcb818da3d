//! Tokens of an OpenStack Keystone (Identity API v3): asks it who a token stands for, with a token of a service user's own,
//! and believes the answer for a bounded time. A project stands for a tenant, its roles for ours.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::{Mutex as Lock, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

use super::fetch::Fetch;
use super::settings::KeystoneSettings;
use super::{Claimed, Refused};
use crate::clock::Clock;
use crate::model::{Json, Role, TenantName};

/// Answers kept, at most; where all places are taken, the oldest go.
const ANSWERS_MAX: usize = 10_000;

/// A token's characters, at most; a Fernet token has some hundred, a signed one some thousand.
const TOKEN_CHARACTERS_MAX: usize = 16 << 10;

const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// One Keystone.
pub(super) struct Keystone {
    settings: KeystoneSettings,
    fetch: Fetch,
    clock: Arc<dyn Clock>,
    /// The service user's own token.
    own: Mutex<Option<HeaderValue>>,
    answers: Lock<HashMap<[u8; 32], Kept>>,
}

struct Kept {
    claimed: Claimed,
    until: Timestamp,
}

impl Keystone {
    pub(super) fn new(settings: KeystoneSettings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let fetch = Fetch::new(settings.ca_certificates.as_deref())?;
        Ok(Self { settings, fetch, clock, own: Mutex::default(), answers: Lock::default() })
    }

    /// Who a token stands for, as far as that is known without asking.
    pub(super) fn known(&self, token: &str) -> Option<Claimed> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = answers.get(&digest(token)).filter(|kept| self.clock.now() < kept.until)?;
        Some(kept.claimed.clone())
    }

    /// Who a token stands for.
    pub(super) async fn authenticate(&self, token: &str) -> Result<Claimed, Refused> {
        if let Some(claimed) = self.known(token) {
            return Ok(claimed);
        }
        let plain = token.len() <= TOKEN_CHARACTERS_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
        let subject = HeaderValue::from_str(token).ok().filter(|_| plain && !token.is_empty());
        let Some(mut subject) = subject else {
            return Err(Refused::Invalid("this is no token of Keystone".to_owned()));
        };
        subject.set_sensitive(true);
        let (status, answer) = self.validated(subject).await.map_err(unavailable)?;
        if !status.is_success() {
            return Err(Refused::Invalid("Keystone does not know the token, or it has ended".to_owned()));
        }
        let (claimed, until) = self.claimed(&answer)?;
        self.keep(token, &claimed, until);
        Ok(claimed)
    }

    /// Asks about a token; once more with a new token of our own where the one at hand has ended.
    async fn validated(&self, subject: HeaderValue) -> Result<(StatusCode, Json), String> {
        let mut is_new = false;
        loop {
            let own = self.own_token(is_new).await?;
            let mut url = self.url("auth/tokens");
            url.set_query(Some("nocatalog"));
            let headers = HeaderMap::from_iter([(AUTH_TOKEN, own), (SUBJECT_TOKEN, subject.clone())]);
            let answer = self.fetch.ask(Method::GET, url, headers, None).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED if !is_new => is_new = true,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err("it does not let the service user validate tokens".to_owned());
                }
                StatusCode::NOT_FOUND => return Ok((answer.status, Json::Null)),
                status if status.is_success() => return Ok((status, answer.json()?)),
                status => return Err(format!("it answered with status {}", status.as_u16())),
            }
        }
    }

    /// The service user's own token: the one at hand, or a new one.
    async fn own_token(&self, anew: bool) -> Result<HeaderValue, String> {
        let mut own = self.own.lock().await;
        if let (Some(token), false) = (&*own, anew) {
            return Ok(token.clone());
        }
        let Self { settings, .. } = self;
        let password = std::fs::read_to_string(&settings.password_file).map(Zeroizing::new);
        let password = password.map_err(|error| format!("the service user's password file cannot be read: {error}"))?;
        let password = password.trim_end_matches(['\r', '\n']);
        let user = json!({ "name": settings.user, "domain": { "name": settings.user_domain }, "password": password });
        let project = json!({ "name": settings.project, "domain": { "name": settings.project_domain } });
        let identity = json!({ "methods": ["password"], "password": { "user": user } });
        let body = json!({ "auth": { "identity": identity, "scope": { "project": project } } });
        let answer = self.fetch.ask(Method::POST, self.url("auth/tokens"), HeaderMap::new(), Some(&body)).await?;
        let token = answer.headers.get(SUBJECT_TOKEN).filter(|_| answer.status.is_success());
        let Some(token) = token else {
            return Err(format!("it gives the service user no token (status {})", answer.status.as_u16()));
        };
        let mut token = token.clone();
        token.set_sensitive(true);
        *own = Some(token.clone());
        Ok(token)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.settings.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }

    /// What an answer says, and until when it is good.
    fn claimed(&self, answer: &Json) -> Result<(Claimed, Timestamp), Refused> {
        let strange = || unavailable("its answer is not understood".to_owned());
        let text = |pointer: &str| answer.pointer(pointer).and_then(Json::as_str);
        let user = text("/token/user/id").ok_or_else(strange)?;
        let ends: Timestamp = text("/token/expires_at").and_then(|at| at.parse().ok()).ok_or_else(strange)?;
        let now = self.clock.now();
        if ends <= now {
            return Err(Refused::Invalid("the token has ended".to_owned()));
        }
        let Some(project) = text("/token/project/id") else {
            return Err(Refused::Forbidden(
                "the token is not scoped to a project; ask Keystone for one that is".to_owned(),
            ));
        };
        let roles = answer.pointer("/token/roles").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        let claimed = Claimed {
            subject: format!("keystone:{user}"),
            tenant: self.tenant(project)?,
            roles: self.roles(roles.iter().filter_map(|role| role.get("name")?.as_str())),
        };
        let until = now.saturating_add(self.settings.cache).unwrap_or(now);
        Ok((claimed, until.min(ends)))
    }

    fn tenant(&self, project: &str) -> Result<TenantName, Refused> {
        let nobody = |_| Refused::Forbidden("the token's project is no tenant of this server".to_owned());
        self.settings.projects.get(project).cloned().map_or_else(|| TenantName::parse(project).map_err(nobody), Ok)
    }

    fn roles<'r>(&self, names: impl Iterator<Item = &'r str>) -> BTreeSet<Role> {
        names.filter_map(|name| self.settings.roles.get(name)).flatten().copied().collect()
    }

    /// The tenant that a project's identifier stands for, where the settings name it.
    pub(super) fn tenant_of(&self, project: &str) -> Option<&TenantName> {
        self.settings.projects.get(project)
    }

    fn keep(&self, token: &str, claimed: &Claimed, until: Timestamp) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            let now = self.clock.now();
            answers.retain(|_, kept| now < kept.until);
            if answers.len() >= ANSWERS_MAX {
                answers.clear(); // Rare, and only costs that Keystone is asked again.
            }
        }
        answers.insert(digest(token), Kept { claimed: claimed.clone(), until });
    }
}

/// Answers are kept by the token's digest, so that memory holds no tokens.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn unavailable(reason: String) -> Refused {
    tracing::warn!(reason, "Keystone cannot be asked about a token");
    Refused::Unavailable(format!(
        "the token cannot be checked, because Keystone cannot be asked: {reason}; try again soon"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;

    fn keystone() -> Keystone {
        let settings = json!({
            "url": "https://keystone.example/v3", "user": "u", "project": "p", "passwordFile": "/p",
            "roles": { "member": ["operator"], "admin": ["tenant-admin"] }, "projects": { "p-1": "acme" },
        });
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        Keystone::new(serde_json::from_value(settings).unwrap(), Arc::new(clock)).unwrap()
    }

    fn answer(project: Json, ends: &str) -> Json {
        let roles = json!([{ "name": "member" }, { "name": "reader" }]);
        json!({ "token": { "user": { "id": "u-1" }, "project": project, "roles": roles, "expires_at": ends } })
    }

    #[test]
    fn an_answer_becomes_a_subject_a_tenant_and_roles_for_as_long_as_it_is_good() {
        let (claimed, until) =
            keystone().claimed(&answer(json!({ "id": "p-1" }), "2026-01-01T00:01:00.000000Z")).unwrap();
        assert_eq!((claimed.subject.as_str(), claimed.tenant.as_str()), ("keystone:u-1", "acme"));
        assert_eq!(claimed.roles, BTreeSet::from([Role::Operator]));
        assert_eq!(until, "2026-01-01T00:01:00Z".parse().unwrap());
        let (claimed, until) = keystone().claimed(&answer(json!({ "id": "abc" }), "2026-01-02T00:00:00Z")).unwrap();
        assert_eq!((claimed.tenant.as_str(), until), ("abc", "2026-01-01T00:05:00Z".parse().unwrap()));
    }

    #[test]
    fn an_answer_without_project_or_life_opens_nothing() {
        let refused = |project: Json, ends: &str| keystone().claimed(&answer(project, ends)).unwrap_err();
        assert!(matches!(refused(json!(null), "2026-01-02T00:00:00Z"), Refused::Forbidden(_)));
        assert!(matches!(refused(json!({ "id": "no label!" }), "2026-01-02T00:00:00Z"), Refused::Forbidden(_)));
        assert!(matches!(refused(json!({ "id": "p-1" }), "2026-01-01T00:00:00Z"), Refused::Invalid(_)));
        assert!(matches!(refused(json!({ "id": "p-1" }), "soon"), Refused::Unavailable(_)));
    }

    #[tokio::test]
    async fn what_cannot_be_a_header_is_refused_without_asking() {
        for bad in ["", "a b", "ä", &"x".repeat(TOKEN_CHARACTERS_MAX + 1)] {
            assert!(matches!(keystone().authenticate(bad).await, Err(Refused::Invalid(_))), "{bad}");
        }
    }
}
