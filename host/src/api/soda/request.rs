//! What handlers of this surface take out of a request: who asks in which tenant, the token that a start needs, a body
//! that is read whatever its type says it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde_json::Map;

use super::refusal::{Refusal, TOKEN_MISSING, has_token};
use crate::api::caller::Caller;
use crate::api::extract::{JSON_BYTES_MAX, read};
use crate::api::problem::{Kind, Problem};
use crate::api::rooms::Rooms;
use crate::model::{Json, Permission, Principal, TenantName};

/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Who asks, for what.
#[derive(Debug, Clone)]
pub struct Here {
    /// Who, in the tenant of the path.
    pub principal: Arc<Principal>,
    /// The tenant as the path names it.
    pub tenant_id: String,
    /// The identifier at the end of the path; empty where there is none.
    pub id: String,
}

impl FromRequestParts<Arc<Rooms>> for Here {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, rooms: &Arc<Rooms>) -> Result<Self, Refusal> {
        let Caller(principal) = Caller::from_request_parts(parts, rooms).await?;
        let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, rooms).await;
        let Path(mut path) = path.map_err(|error| Refusal::new(Kind::InvalidParameter, error.body_text()))?;
        let id = path.remove("id").unwrap_or_default();
        let Some(tenant_id) = path.remove("tenant") else {
            return Ok(Self { tenant_id: principal.tenant.to_string(), principal, id });
        };
        let tenant = rooms.soda.settings().tenant(&tenant_id).ok_or_else(|| foreign(&tenant_id))?;
        let principal = entered(principal, tenant).ok_or_else(|| foreign(&tenant_id))?;
        Ok(Self { principal, tenant_id, id })
    }
}

impl Here {
    /// The tenant.
    pub fn tenant(&self) -> &TenantName {
        &self.principal.tenant
    }
}

/// Whoever asks, in the tenant of the path: her own, or any for an admin of the server.
fn entered(principal: Arc<Principal>, tenant: TenantName) -> Option<Arc<Principal>> {
    if principal.tenant == tenant {
        return Some(principal);
    }
    principal.may(Permission::ManageServer).then(|| Arc::new(Principal { tenant, ..(*principal).clone() }))
}

/// A tenant that is another one's, or none at all: which of both is not told.
fn foreign(tenant_id: &str) -> Refusal {
    let shown: String = tenant_id.chars().take(100).collect();
    Refusal::forbidden(&format!("there is no tenant `{shown}` for you; use the one your token is for"))
}

/// That a start brings a token.
#[derive(Debug, Clone, Copy)]
pub struct Token;

impl<S: Send + Sync> FromRequestParts<S> for Token {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        if has_token(&parts.headers) { Ok(Self) } else { Err(Refusal::text(TOKEN_MISSING)) }
    }
}

/// The query; members that nobody knows are passed over.
#[derive(Debug, Clone, Default)]
pub struct Asks(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Asks {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(query) = query.map_err(|error| Refusal::new(Kind::InvalidParameter, error.body_text()))?;
        Ok(Self(query.into_iter().collect()))
    }
}

impl Asks {
    /// A member that is given and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The same query with this member.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A member that is a number.
    ///
    /// # Errors
    /// It is none, or above `max`.
    pub fn number(&self, name: &str, max: usize) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number <= max);
        let wrong = || {
            let range = if max == usize::MAX { "a whole number".to_owned() } else { format!("0 to {max}") };
            Refusal::new(Kind::InvalidParameter, format!("set `{name}` to {range}"))
        };
        number.map(Some).ok_or_else(wrong)
    }
}

/// A body that is a JSON object, or a JSON text that holds one; its type does not matter.
#[derive(Debug, Clone)]
pub struct Object(pub Map<String, Json>);

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = read(request.into_body(), JSON_BYTES_MAX, BODY_TIME_MAX).await?;
        object(&bytes).map(Self)
    }
}

/// A body that may be left out.
#[derive(Debug, Clone)]
pub struct Optional(pub Map<String, Json>);

impl<S: Send + Sync> FromRequest<S> for Optional {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = read(request.into_body(), JSON_BYTES_MAX, BODY_TIME_MAX).await?;
        if bytes.trim_ascii().is_empty() { Ok(Self(Map::new())) } else { object(&bytes).map(Self) }
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Json>, Refusal> {
    let not_json = |error| Problem::new(Kind::MalformedJson, format!("the body is not JSON: {error}"));
    let value: Json = serde_json::from_slice(bytes).map_err(not_json)?;
    // One of SODA's clients encodes its body twice.
    let value = match value {
        Json::String(text) => serde_json::from_str(&text).map_err(not_json)?,
        value => value,
    };
    match value {
        Json::Object(object) => Ok(object),
        _ => Err(Refusal::new(Kind::InvalidBody, "the body has to be a JSON object")),
    }
}

/// A member of a body as text: a text that is not empty, or a number; `null` and `""` count as absent.
pub fn text_of(object: &Map<String, Json>, name: &str) -> Option<String> {
    match object.get(name)? {
        Json::String(text) if text.is_empty() => None,
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::model::Role;

    #[test]
    fn a_body_is_an_object_once_or_twice_encoded() {
        let read = |text: &str| object(text.as_bytes()).ok().map(Json::Object);
        assert_eq!(read("{\"a\":1}"), Some(json!({ "a": 1 })));
        assert_eq!(read("\"{\\\"a\\\":1}\""), Some(json!({ "a": 1 })));
        for bad in ["", "[]", "\"x\"", "\"\\\"{}\\\"\"", "1", "{"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_an_admin_of_the_server_enters_other_tenants() {
        let of = |role| Principal {
            subject: "a".to_owned(),
            tenant: TenantName::standard(),
            roles: BTreeSet::from([role]),
            services: None,
        };
        let blue = TenantName::parse("blue").unwrap();
        for role in Role::ALL {
            let entered = entered(Arc::new(of(role)), blue.clone());
            assert_eq!(
                entered.map(|principal| principal.tenant.clone()).is_some(),
                role == Role::ServerAdmin,
                "{role}"
            );
        }
        assert!(entered(Arc::new(of(Role::Viewer)), TenantName::standard()).is_some());
    }
}
