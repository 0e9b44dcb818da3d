//! The layer that lets requests in: who sends it, in which tenant, whether she may, whether she sees what the path names; and
//! the audit log of what was changed or refused. Handlers behind it need no check of their own.
//!
//! An instance or a service that somebody may not see is answered exactly like one that does not exist.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use super::caller::{Caller, Known, RequestId};
use super::permissions::{self, Found, Need};
use super::problem::{self, Kind, Problem};
use super::rooms::Rooms;
use super::serve::Peer;
use super::watched::Watch;
use crate::coordinator::InstanceError;
use crate::identity::audit::{ABANDONED, Audit, Happened};
use crate::identity::{Means, Person, Presented};
use crate::model::{InstanceId, Permission, Principal, Role, ServiceName, TenantName};

/// The header by which a server admin chooses a tenant.
pub const TENANT: HeaderName = HeaderName::from_static("orchestrator-tenant");

/// The header of OpenStack and SODA for tokens.
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The headers that say who sends a request, and in which tenant.
const PROOF: [HeaderName; 3] = [header::AUTHORIZATION, AUTH_TOKEN, TENANT];

/// What is known of a request before anybody is.
#[derive(Clone)]
pub(super) struct Asked {
    operation: &'static str,
    need: Need,
    /// The route, with its parameters' names.
    route: Arc<str>,
    path: String,
    address: IpAddr,
    request_id: Arc<str>,
    is_change: bool,
}

/// The layer itself. It stands outside of all that has to know the caller.
pub async fn authenticate(State(rooms): State<Arc<Rooms>>, mut request: Request, next: Next) -> Response {
    let Some(asked) = Asked::of(&rooms, &request) else {
        return next.run(request).await; // No such route, or not with this method: there is nothing to guard.
    };
    // In front may be a layer that knows better than nobody; no client can say so.
    let before = Caller::of(request.extensions()).cloned();
    match admitted(&rooms, &asked, request.headers(), before).await {
        Ok(Person { principal, means }) => {
            let subject = (asked.need != Need::Public).then(|| principal.subject.clone());
            let tenant = (asked.need != Need::Public).then(|| principal.tenant.clone());
            request.extensions_mut().insert(Caller(principal));
            request.extensions_mut().insert(Known(means));
            let may_end = rooms.identity.is_required() && asked.need != Need::Public && !asked.is_change;
            let watch = may_end.then(|| Watch::new(&rooms, &asked, request.headers(), &PROOF));
            let written = Written::new(&rooms, asked, subject, tenant);
            let response = next.run(request).await;
            let response = written.answered(response).await;
            match watch {
                Some(watch) => watch.over(response),
                None => response,
            }
        }
        Err(refusal) => {
            let (problem, person) = *refusal;
            let who = person.map(|person| (person.principal.subject.clone(), person.principal.tenant.clone()));
            refuse(&rooms, &asked, problem, who).await
        }
    }
}

impl Asked {
    fn of(rooms: &Rooms, request: &Request) -> Option<Self> {
        let route: Arc<str> = request.extensions().get::<MatchedPath>()?.as_str().into();
        let (operation, need) = match permissions::find(request.method(), &route) {
            Found::Rule(rule) => (rule.operation, rule.need),
            Found::NoMethod => return None,
            Found::Nothing => ("unknown", Need::May(Permission::ManageServer)),
        };
        let peer = request.extensions().get::<Peer>().and_then(|Peer(address)| *address);
        let forwarded = request.headers().get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let request_id = request.extensions().get::<RequestId>().map(|RequestId(id)| id.clone());
        Some(Self {
            operation,
            need,
            path: request.uri().path().to_owned(),
            address: rooms.identity.address(peer.map(|peer| peer.ip()), forwarded),
            request_id: request_id.unwrap_or_else(|| "-".into()),
            is_change: !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS),
            route,
        })
    }

    /// The parameter behind this segment of the route, decoded.
    fn parameter(&self, behind: &str) -> Option<String> {
        let at = self.route.split('/').position(|segment| segment == behind)? + 1;
        let is_parameter = self.route.split('/').nth(at)?.starts_with('{');
        let text = self.path.split('/').nth(at).filter(|_| is_parameter)?;
        percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
    }

    /// The tenant that the path names.
    fn tenant_of_path(&self) -> Option<String> {
        self.route.starts_with("/v1beta/{").then(|| self.parameter("v1beta"))?
    }

    fn happened(&self, who: Option<(String, TenantName)>, outcome: u16) -> Happened {
        let (subject, tenant) = who.unzip();
        Happened {
            subject,
            tenant,
            address: self.address,
            action: self.operation.to_owned(),
            target: self.path.clone(),
            outcome,
            request_id: self.request_id.to_string(),
        }
    }
}

/// Why somebody is not let in, and who it is where that is known.
type Refusal = Box<(Problem, Option<Person>)>;

/// The person who is let in.
async fn admitted(
    rooms: &Rooms,
    asked: &Asked,
    headers: &HeaderMap,
    before: Option<Arc<Principal>>,
) -> Result<Person, Refusal> {
    let person = known(rooms, asked, headers, before).await.map_err(|problem| Box::new((problem, None)))?;
    if asked.need == Need::Public {
        return Ok(person);
    }
    let person = in_tenant(rooms, asked, headers, &person).map_err(|problem| Box::new((problem, Some(person))))?;
    match allowed(rooms, asked, &person.principal) {
        Ok(()) => Ok(person),
        Err(problem) => Err(Box::new((problem, Some(person)))),
    }
}

/// Whether the sender of a request that was let in would be let in now; also where that cannot be found out.
pub(super) async fn still_admits(rooms: &Rooms, asked: &Asked, headers: &HeaderMap) -> bool {
    match admitted(rooms, asked, headers, None).await {
        Ok(_) => true,
        Err(refusal) => refusal.0.kind.status().is_server_error(),
    }
}

async fn known(
    rooms: &Rooms,
    asked: &Asked,
    headers: &HeaderMap,
    before: Option<Arc<Principal>>,
) -> Result<Person, Problem> {
    if !rooms.identity.is_required() {
        return Ok(Person { principal: before.unwrap_or_else(everything), means: Means::None });
    }
    let presented = presented(headers);
    if asked.need == Need::Public || (asked.need == Need::Optional && presented == Presented::Nothing) {
        return Ok(Person { principal: nobody(), means: Means::None });
    }
    Ok(rooms.identity.authenticate(presented, asked.address).await?)
}

/// Who asks a server that authenticates nobody.
fn everything() -> Arc<Principal> {
    static ANONYMOUS: std::sync::LazyLock<Arc<Principal>> =
        std::sync::LazyLock::new(|| Arc::new(Principal::anonymous(TenantName::standard())));
    ANONYMOUS.clone()
}

/// Who asks for what is public.
fn nobody() -> Arc<Principal> {
    static NOBODY: std::sync::LazyLock<Arc<Principal>> = std::sync::LazyLock::new(|| {
        let roles = std::collections::BTreeSet::new();
        Arc::new(Principal { roles, ..Principal::anonymous(TenantName::standard()) })
    });
    NOBODY.clone()
}

/// What a request has to prove who sends it.
fn presented(headers: &HeaderMap) -> Presented<'_> {
    let one = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        let value = values.next();
        (value, values.next().is_some())
    };
    let (authorization, more) = one(header::AUTHORIZATION);
    let (token, more_tokens) = one(AUTH_TOKEN);
    if more || more_tokens {
        return Presented::Strange;
    }
    if let Some(value) = authorization {
        let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return bearer.map_or(Presented::Strange, |(_, token)| Presented::Bearer(token.trim()));
    }
    match token.map(|value| value.to_str()) {
        None => Presented::Nothing,
        Some(Ok("")) => Presented::Nothing,
        Some(Ok(token)) => Presented::AuthToken(token),
        Some(Err(_)) => Presented::Strange,
    }
}

/// The person in the tenant that header and path name.
fn in_tenant(rooms: &Rooms, asked: &Asked, headers: &HeaderMap, person: &Person) -> Result<Person, Problem> {
    let mut person = person.clone();
    if let Some(named) = headers.get(TENANT) {
        let named = named.to_str().unwrap_or_default();
        person = rooms.identity.in_tenant(person, named)?;
    }
    if let Some(named) = asked.tenant_of_path() {
        if named.is_empty() {
            return Err(problem::unknown_route());
        }
        let meant = rooms.soda.settings().tenant(&named).map_or(named, String::from);
        person = rooms.identity.in_tenant(person, &meant)?;
    }
    Ok(person)
}

/// Whether she may do what she asks for.
fn allowed(rooms: &Rooms, asked: &Asked, principal: &Principal) -> Result<(), Problem> {
    let permissions = asked.need.permissions();
    if !permissions.is_empty() && !permissions.iter().any(|permission| principal.may(*permission)) {
        return Err(forbidden(principal, permissions));
    }
    match asked.need {
        Need::Sees(_) | Need::Steers | Need::Decides => guard_instance(rooms, asked, principal),
        Need::SeesService => guard_service(asked, principal),
        Need::Public | Need::Optional | Need::Known | Need::May(_) => Ok(()),
    }
}

fn guard_instance(rooms: &Rooms, asked: &Asked, principal: &Principal) -> Result<(), Problem> {
    let text = asked.parameter("instances").or_else(|| asked.parameter("tasks")).unwrap_or_default();
    let Ok(id) = text.parse().map(InstanceId) else { return Ok(()) }; // No identifier, as its handler says.
    let summary = match rooms.coordinator.instance(id) {
        Err(InstanceError::NotFound(_)) => return Ok(()), // As its handler says, in the words of its interface.
        found => found?,
    };
    let owner = summary.created_by.as_deref();
    let sees =
        summary.tenant == principal.tenant && principal.sees(owner) && principal.admits(summary.service.as_ref());
    if !sees {
        return Err(InstanceError::NotFound(id).into());
    }
    let allowed = match asked.need {
        Need::Steers => principal.steers(owner),
        Need::Decides => principal.may(Permission::Approve) || principal.steers(owner),
        _ => true,
    };
    let not_hers = || {
        let cure = "the instance is somebody else's; only who started it or an admin of the tenant may do this";
        Problem::new(Kind::Forbidden, cure)
    };
    if allowed { Ok(()) } else { Err(not_hers()) }
}

fn guard_service(asked: &Asked, principal: &Principal) -> Result<(), Problem> {
    let name = asked.parameter("services").and_then(|name| ServiceName::parse(&name).ok());
    match name {
        Some(name) if !principal.may_order(&name) => Err(Problem::unknown_service(&name)),
        _ => Ok(()),
    }
}

fn forbidden(principal: &Principal, permissions: &[Permission]) -> Problem {
    let names = |roles: &mut dyn Iterator<Item = Role>| {
        let names: Vec<_> = roles.map(|role| format!("`{role}`")).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let gives = |role: &Role| permissions.iter().any(|permission| role.gives(*permission));
    let giving = names(&mut Role::ALL.into_iter().filter(gives));
    let own = names(&mut principal.roles.iter().copied());
    let text = format!("this needs one of the roles {giving}; yours: {own}");
    Problem::new(Kind::Forbidden, text)
}

/// Answers with a problem, and writes the refusal into the audit log: who is known always, unknown ones as far as a flood of
/// them leaves room.
async fn refuse(rooms: &Rooms, asked: &Asked, problem: Problem, who: Option<(String, TenantName)>) -> Response {
    let is_refusal = matches!(problem.kind, Kind::Unauthenticated | Kind::Forbidden);
    let told = asked.is_change || is_refusal;
    let may_be_told = || who.is_some() || rooms.identity.may_tell_of_stranger();
    if rooms.identity.is_audited() && told && problem.kind != Kind::TooManyAttempts && may_be_told() {
        let happened = asked.happened(who, problem.kind.status().as_u16());
        if let Err(error) = rooms.identity.audit.add(happened).await {
            return problem::commit(&error).into_response();
        }
    }
    problem.into_response()
}

/// A request under way, which is written into the audit log when it is answered; also when its caller goes away before that.
struct Written(Option<Pending>);

/// What is still to be written: where, what, and who asked for it in which tenant, where that was found out.
type Pending = (Arc<Audit>, Asked, Option<(String, TenantName)>);

impl Written {
    fn new(rooms: &Rooms, asked: Asked, subject: Option<String>, tenant: Option<TenantName>) -> Self {
        let is_audited = rooms.identity.is_audited();
        Self(is_audited.then(|| (rooms.identity.audit.clone(), asked, subject.zip(tenant))))
    }

    /// The answer goes out when its entry is durable.
    async fn answered(mut self, response: Response) -> Response {
        let Some((audit, asked, who)) = self.0.take() else { return response };
        let status = response.status();
        let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !asked.is_change && !is_refusal {
            return response;
        }
        match audit.add(asked.happened(who, status.as_u16())).await {
            Ok(()) => response,
            Err(error) => problem::commit(&error).into_response(),
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Some((audit, asked, who)) = self.0.take()
            && asked.is_change
        {
            // It has its place in the log at once; nobody is there any more who could wait until it is durable.
            drop(audit.add(asked.happened(who, ABANDONED)));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_proof_is_taken_from_one_header_in_the_right_form() {
        let check = |given: &[(&'static str, &'static str)], expected: Presented<'_>| {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(presented(&headers), expected, "{given:?}");
        };
        check(&[], Presented::Nothing);
        check(&[("authorization", "Bearer a")], Presented::Bearer("a"));
        check(&[("authorization", "bearer  a ")], Presented::Bearer("a"));
        check(&[("authorization", "Basic a")], Presented::Strange);
        check(&[("authorization", "a")], Presented::Strange);
        check(&[("authorization", "Bearer a"), ("authorization", "Bearer b")], Presented::Strange);
        check(&[("x-auth-token", "a")], Presented::AuthToken("a"));
        check(&[("x-auth-token", "")], Presented::Nothing);
        check(&[("x-auth-token", "a"), ("x-auth-token", "b")], Presented::Strange);
        check(&[("authorization", "Bearer a"), ("x-auth-token", "b")], Presented::Bearer("a"));
    }

    #[test]
    fn parameters_of_the_path_are_found_by_the_segment_before_them() {
        let asked = |route: &str, path: &str| Asked {
            operation: "x",
            need: Need::Known,
            route: route.into(),
            path: path.to_owned(),
            address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            request_id: "r".into(),
            is_change: false,
        };
        let one = asked("/v1/services/{name}", "/v1/services/a%20b%2Fc");
        assert_eq!(one.parameter("services").as_deref(), Some("a b/c"));
        assert_eq!(one.parameter("instances"), None);
        let soda = asked("/v1beta/{tenant}/orchestration/instances/{id}", "/v1beta/acme/orchestration/instances/7");
        assert_eq!(
            (soda.tenant_of_path().as_deref(), soda.parameter("instances").as_deref()),
            (Some("acme"), Some("7"))
        );
        let bare = asked("/v1beta/orchestration/instances/service/{id}", "/v1beta/orchestration/instances/service/7");
        assert_eq!((bare.tenant_of_path(), bare.parameter("instances")), (None, None));
    }

    #[test]
    fn a_refusal_names_what_is_missing_and_what_is_there() {
        let principal = Principal { roles: [Role::Viewer].into(), ..Principal::anonymous(TenantName::standard()) };
        let problem = forbidden(&principal, &[Permission::ManagePacks]);
        assert_eq!(problem.detail, "this needs one of the roles `pack-admin`, `server-admin`; yours: `viewer`");
    }
}
