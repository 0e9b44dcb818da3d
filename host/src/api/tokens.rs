//! API tokens of the caller's tenant: made, listed, shown, revoked. A token itself is in the answer to its making and
//! nowhere else.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::extract::{InJson, InPath};
use super::list::List;
use super::problem::{Fault, Kind, Problem};
use super::rooms::Rooms;
use crate::identity::IdentityError;
use crate::identity::tokens::{NewToken as New, TokenView};
use crate::model::{Principal, Role, ServiceName, TokenName};

/// A token to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// Its name, once in the tenant.
    #[schema(value_type = String, example = "ci")]
    pub name: TokenName,
    /// What it may do; no more than the caller.
    #[schema(example = json!(["operator"]))]
    pub roles: BTreeSet<Role>,
    /// The only services that it sees and may order; by default all.
    #[schema(value_type = Option<Vec<String>>)]
    pub services: Option<BTreeSet<ServiceName>>,
    /// When it ends. Without it and `expiresIn` it does not end.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// After how long it ends: an ISO 8601 duration, or `90d`.
    #[schema(value_type = Option<String>, example = "P90D")]
    pub expires_in: Option<Span>,
}

/// A token, without the token itself.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Its name.
    #[schema(example = "ci")]
    name: String,
    /// The tenant it acts in; with the role `server-admin` it may choose others.
    #[schema(example = "default")]
    tenant: String,
    /// What it may do.
    roles: Vec<Role>,
    /// The only services it sees and may order; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<String>>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Who made it; absent: the server itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    /// When it ends; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was used last; after a crash of the server it may be a minute behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

/// A token that was just made, with the token itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MadeToken {
    #[serde(flatten)]
    made: Token,
    /// The token. It is shown this once; whoever has it, is it.
    #[schema(example = "orc_…")]
    token: String,
}

/// Lists the tokens of the tenant, by name.
#[utoipa::path(get, path = "/v1/tokens", tag = "people", responses(
    (status = 200, description = "All tokens of the tenant.", body = List<Token>),
    (status = 403, description = "`forbidden`."),
))]
pub async fn list_tokens(State(rooms): State<Arc<Rooms>>, Caller(caller): Caller) -> Json<List<Token>> {
    let tokens = rooms.identity.tokens.list(Some(&caller.tenant));
    Json(List::whole(tokens.into_iter().map(Token::from)))
}

/// Makes a token and shows it, this once. Repeating the request does not make another one: its name is taken then.
#[utoipa::path(post, path = "/v1/tokens", tag = "people",
    request_body(content = NewToken, example = json!({"name": "ci", "roles": ["operator"], "expiresIn": "P90D"})),
    responses(
        (status = 201, description = "Made, durably.", body = MadeToken,
            headers(("Location" = String, description = "The token's path."))),
        (status = 403, description = "`forbidden`: nobody gives more than she has."),
        (status = 409, description = "`token-exists`, `limit-reached`."),
        (status = 422, description = "`invalid-body`."),
    ))]
pub async fn create_token(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InJson(asked): InJson<NewToken>,
) -> Result<Response, Problem> {
    check_given(&caller, &asked)?;
    let new = New {
        tenant: caller.tenant.clone(),
        expires_at: end(&asked, rooms.identity.now())?,
        created_by: Some(caller.subject.clone()),
        name: asked.name,
        roles: asked.roles,
        services: asked.services,
    };
    let (view, text) = rooms.identity.tokens.create(new).await?;
    let location = HeaderValue::try_from(format!("/v1/tokens/{}", view.token.name)).map_err(Problem::internal)?;
    let made = MadeToken { made: view.into(), token: text.to_string() };
    let no_store = HeaderValue::from_static("no-store");
    Ok((StatusCode::CREATED, [(header::LOCATION, location), (header::CACHE_CONTROL, no_store)], Json(made))
        .into_response())
}

/// Shows a token of the tenant, without the token itself.
#[utoipa::path(get, path = "/v1/tokens/{name}", tag = "people",
    params(("name" = String, Path, description = "The token's name.")),
    responses(
        (status = 200, description = "The token.", body = Token),
        (status = 403, description = "`forbidden`."),
        (status = 404, description = "`unknown-token`."),
    ))]
pub async fn get_token(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<TokenName>,
) -> Result<Json<Token>, Problem> {
    let view = rooms.identity.tokens.get(&caller.tenant, &name).ok_or(IdentityError::UnknownToken(name))?;
    Ok(Json(view.into()))
}

/// Revokes a token: no request passes with it any more.
#[utoipa::path(delete, path = "/v1/tokens/{name}", tag = "people",
    params(("name" = String, Path, description = "The token's name.")),
    responses(
        (status = 204, description = "Revoked, durably."),
        (status = 403, description = "`forbidden`: it has more than the caller may give."),
        (status = 404, description = "`unknown-token`."),
    ))]
pub async fn revoke_token(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<TokenName>,
) -> Result<StatusCode, Problem> {
    let view = rooms.identity.tokens.get(&caller.tenant, &name);
    let view = view.ok_or_else(|| IdentityError::UnknownToken(name.clone()))?;
    if !view.token.roles.iter().all(|role| caller.may_give(*role)) {
        return Err(Problem::new(Kind::Forbidden, "the token has more than you may give; a server admin revokes it"));
    }
    rooms.identity.tokens.revoke(&caller.tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Nobody gives what she has not.
fn check_given(caller: &Principal, asked: &NewToken) -> Result<(), Problem> {
    if let Some(role) = asked.roles.iter().find(|role| !caller.may_give(**role)) {
        let text = format!("you may not give the role `{role}`; a server admin gives it");
        return Err(Problem::new(Kind::Forbidden, text).with([Fault::at("/roles", "leave it out")]));
    }
    let more = |own: &BTreeSet<ServiceName>| asked.services.as_ref().is_none_or(|given| !given.is_subset(own));
    if caller.services.as_ref().is_some_and(more) {
        let text = "name in `services` some of those that you may order yourself";
        return Err(Problem::new(Kind::Forbidden, text).with([Fault::at("/services", text)]));
    }
    Ok(())
}

/// When the token ends.
fn end(asked: &NewToken, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let wrong = |message: &str| Problem::new(Kind::InvalidBody, message).with([Fault::at("/expiresIn", message)]);
    match (asked.expires_at, asked.expires_in) {
        (Some(_), Some(_)) => Err(wrong("give either `expiresAt` or `expiresIn`")),
        (at, None) => Ok(at),
        (None, Some(span)) if span.is_positive() => {
            let end = now.to_zoned(TimeZone::UTC).checked_add(span);
            end.map(|end| Some(end.timestamp())).map_err(|_| wrong("give a shorter time, such as `P90D`"))
        }
        (None, Some(_)) => Err(wrong("give a time to come, such as `P90D`")),
    }
}

impl From<TokenView> for Token {
    fn from(view: TokenView) -> Self {
        let TokenView { token, last_used_at } = view;
        Self {
            name: token.name.into(),
            tenant: token.tenant.into(),
            roles: token.roles.into_iter().collect(),
            services: token.services.map(|services| services.into_iter().map(Into::into).collect()),
            created_at: token.created_at,
            created_by: token.created_by,
            expires_at: token.expires_at,
            last_used_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantName;

    #[test]
    fn a_lifetime_is_a_time_or_a_duration_to_come() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        let end = |body: &str| {
            let body = format!("{{\"name\": \"a\", \"roles\": [\"viewer\"]{body}}}");
            end(&serde_json::from_str(&body).unwrap(), now).map_err(|problem| problem.kind)
        };
        let at = |text: &str| Ok(Some(text.parse().unwrap()));
        assert_eq!(end(""), Ok(None));
        assert_eq!(end(", \"expiresIn\": \"P90D\""), at("2026-05-01T00:00:00Z"));
        assert_eq!(end(", \"expiresIn\": \"1h\""), at("2026-01-31T01:00:00Z"));
        assert_eq!(end(", \"expiresIn\": \"P1M\""), at("2026-02-28T00:00:00Z"));
        assert_eq!(end(", \"expiresAt\": \"2026-03-01T00:00:00Z\""), at("2026-03-01T00:00:00Z"));
        for bad in [", \"expiresIn\": \"-P1D\"", ", \"expiresIn\": \"PT0S\"", ", \"expiresIn\": \"P19998Y\""] {
            assert_eq!(end(bad), Err(Kind::InvalidBody), "{bad}");
        }
    }

    #[test]
    fn nobody_gives_services_that_she_has_not() {
        let service = |name| ServiceName::parse(name).unwrap();
        let held = Principal {
            services: Some([service("a"), service("b")].into()),
            roles: [Role::TenantAdmin].into(),
            ..Principal::anonymous(TenantName::standard())
        };
        let asked = |services: Option<&[&'static str]>| NewToken {
            name: TokenName::parse("t").unwrap(),
            roles: [Role::Operator].into(),
            services: services.map(|names| names.iter().map(|name| service(name)).collect()),
            expires_at: None,
            expires_in: None,
        };
        assert!(check_given(&held, &asked(Some(&["a"]))).is_ok());
        assert!(check_given(&held, &asked(Some(&["a", "c"]))).is_err() && check_given(&held, &asked(None)).is_err());
        let more = NewToken { roles: [Role::PackAdmin].into(), ..asked(Some(&["a"])) };
        assert_eq!(check_given(&held, &more).unwrap_err().kind, Kind::Forbidden);
    }
}
