//! `call: http`: one request, the redirects it is sent on to, and what comes back as output or failure. `call: openapi`
//! ends here too, once it has its request.

use ::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use ::http::{Method, StatusCode};

use super::authentication::Scheme;
use super::request::Spec;
use super::way::Way;
use super::{Reply, Session, Wire, failure};
use crate::model::{Failure, Json, Reaction};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;

/// Carries the call's key, so that the other side can tell a repetition.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Makes the call.
pub(super) async fn call(session: &Session<'_>, arguments: &Json) -> Result<Json, Failure> {
    perform(session, Spec::read(arguments, session)?).await
}

/// Sends what was read, and makes the output.
pub(super) async fn perform(session: &Session<'_>, spec: Spec) -> Result<Json, Failure> {
    let output = spec.output;
    let (wire, reply) = exchange(session, spec).await?;
    Ok(output.of(&wire, &reply, session.opener))
}

/// Sends what was read; gives the last request with its response, which is one of success.
pub(super) async fn exchange(session: &Session<'_>, spec: Spec) -> Result<(Wire, Reply), Failure> {
    let way = Way::of(&spec.endpoint, &spec.query, session.opener.allowed())?;
    let mut scheme = match &spec.authentication {
        Some(authentication) => Some(Scheme::read(authentication, session.opener)?),
        None => None,
    };
    check_connection(&way, scheme.is_some(), &spec.headers)?;
    let mut wire = Wire { method: spec.method, way, headers: spec.headers, body: spec.body };
    identify(&mut wire, session.key);
    let mut redirects = 0;
    loop {
        let (sent, reply) = authenticated(session, &wire, scheme.as_ref()).await?;
        let location = reply.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let (Some(location), true, true) = (location, spec.redirect, is_redirect(reply.status)) else {
            return finished(session, sent, reply, spec.redirect, scheme.is_some());
        };
        redirects += 1;
        if redirects > REDIRECTS_MAX {
            return Err(endless(&wire, reply.status));
        }
        let next = wire.way.redirected(location, session.opener.allowed())?;
        let elsewhere = !next.same_origin(&wire.way);
        if elsewhere {
            scheme = None;
            keep_body_here(session, &wire, reply.status)?;
        }
        wire = redirected(wire, next, reply.status, elsewhere);
    }
}

/// A connection brings its own authentication, and would lose it to the call's.
fn check_connection(way: &Way, scheme: bool, headers: &HeaderMap) -> Result<(), Failure> {
    let own = scheme || headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE);
    match way {
        Way::Connection { name, .. } if own => {
            let text = format!("remove the authentication from the call: connection `{name}` has its own");
            Err(failure::configuration(text))
        }
        _ => Ok(()),
    }
}

fn identify(wire: &mut Wire, key: &str) {
    if matches!(wire.method, Method::POST | Method::PATCH)
        && !wire.headers.contains_key(IDEMPOTENCY_KEY)
        && let Ok(key) = HeaderValue::from_str(key)
    {
        wire.headers.insert(IDEMPOTENCY_KEY, key);
    }
}

/// Sends with the scheme's authentication; the request as it was sent comes back.
async fn authenticated(session: &Session<'_>, wire: &Wire, scheme: Option<&Scheme>) -> Result<(Wire, Reply), Failure> {
    let Some(scheme) = scheme else { return Ok((wire.clone(), session.send(wire).await?)) };
    let mut sent = wire.clone();
    let first = scheme.first(session, &mut sent).await?;
    let reply = session.send(&sent).await?;
    if reply.status != StatusCode::UNAUTHORIZED {
        return Ok((sent, reply));
    }
    let mut again = wire.clone();
    if !scheme.again(session, &mut again, &reply, first).await? {
        return Ok((sent, reply));
    }
    let reply = session.send(&again).await?;
    Ok((again, reply))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn endless(wire: &Wire, status: StatusCode) -> Failure {
    let detail = format!("{} {}: more than {REDIRECTS_MAX} redirects followed each other", wire.method, wire.way);
    failure::communication(status.as_u16(), Reaction::Permanent, "too many redirects", detail)
}

/// The request after a redirect (RFC 9110, 15.4): what authenticates does not go to another origin.
fn redirected(mut wire: Wire, way: Way, status: StatusCode, elsewhere: bool) -> Wire {
    wire.way = way;
    let as_get = match status.as_u16() {
        303 => wire.method != Method::HEAD,
        301 | 302 => wire.method == Method::POST,
        _ => false,
    };
    if as_get {
        wire.method = Method::GET;
        wire.body = None;
        for name in [CONTENT_TYPE, CONTENT_LENGTH, IDEMPOTENCY_KEY] {
            wire.headers.remove(name);
        }
    }
    if elsewhere {
        let secret = |(name, value): (&HeaderName, &HeaderValue)| value.is_sensitive().then(|| name.clone());
        let secrets: Vec<_> = wire.headers.iter().filter_map(secret).collect();
        secrets.into_iter().for_each(|name| {
            wire.headers.remove(name);
        });
    }
    wire
}

/// Statuses that keep the body would take a secret in it to the other origin.
fn keep_body_here(session: &Session<'_>, wire: &Wire, status: StatusCode) -> Result<(), Failure> {
    match &wire.body {
        Some(body) if matches!(status.as_u16(), 307 | 308) && session.opener.is_in(body) => {
            let detail =
                format!("{} {} leads to another origin, and the body has a secret in it", wire.method, wire.way);
            Err(failure::communication(status.as_u16(), Reaction::Permanent, "a redirect is not followed", detail))
        }
        _ => Ok(()),
    }
}

fn finished(
    session: &Session<'_>,
    wire: Wire,
    reply: Reply,
    redirect: bool,
    authenticated: bool,
) -> Result<(Wire, Reply), Failure> {
    let status = reply.status;
    let limit = if redirect { 400 } else { 300 };
    if (200..limit).contains(&status.as_u16()) {
        return Ok((wire, reply));
    }
    if status == StatusCode::UNAUTHORIZED && authenticated {
        let detail = format!("{} {} was answered {}", wire.method, wire.way, failure::named(status));
        return Err(failure::unauthenticated(detail));
    }
    let (now, said) = (session.inner.clock.now(), said(session, &reply));
    Err(failure::answered(&wire.method, &wire.way, status, &reply.headers, &said, now))
}

/// What the other side says about its refusal, where it is text. Secrets go before it is cut, so that no part stays.
fn said(session: &Session<'_>, reply: &Reply) -> String {
    std::str::from_utf8(&reply.body).map(|text| session.opener.hide(text)).unwrap_or_default()
}
