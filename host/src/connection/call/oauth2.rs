//! Tokens by OAuth 2 (RFC 6749, 7523, 8693) and by OpenID Connect discovery, kept in memory until shortly before they
//! expire. Calls with the same settings share a token, and only one of them asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::Method;
use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::authentication::required;
use super::digest::nonce;
use super::way::Way;
use super::{Reply, Session, Wire, failure};
use crate::model::{Failure, Json};

/// A token is not used any more so long before it expires: the request with it has to arrive in time.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// No token is kept longer, whatever the other side says; it is only asked for once more then.
const KEPT_MAX: SignedDuration = SignedDuration::from_hours(24);

/// So many settings have their token kept; beyond, all of them ask again. Far above what one server's workflows use.
const SLOTS_MAX: usize = 1024;

/// An assertion of ours holds so long; it is used at once.
const ASSERTION_SECONDS: i64 = 60;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a token is asked for with.
pub(super) struct Settings {
    authority: String,
    /// Below the authority, or absolute; absent: by discovery.
    endpoint: Option<String>,
    client: Client,
    as_json: bool,
    issuers: Vec<String>,
    /// The members of the request, beside those of the client.
    members: Vec<(&'static str, String)>,
    /// Of everything above: equal settings share a token, and nobody has them who does not have the credentials in them.
    digest: [u8; 32],
}

/// How the client shows who it is.
enum Client {
    None { id: Option<String> },
    Basic { id: String, secret: Zeroizing<String> },
    Post { id: String, secret: Zeroizing<String> },
    SecretJwt { id: String, secret: Zeroizing<String> },
    Assertion { id: Option<String>, assertion: Zeroizing<String> },
}

/// A token that is kept.
struct Kept {
    token: Zeroizing<String>,
    until: Timestamp,
}

type Slot = Arc<tokio::sync::Mutex<Option<Kept>>>;

/// The tokens that are kept, by the digest of their settings and tenant.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<[u8; 32], Slot>>);

impl Tokens {
    fn slot(&self, digest: [u8; 32]) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= SLOTS_MAX && !slots.contains_key(&digest) {
            slots.clear();
        }
        slots.entry(digest).or_default().clone()
    }
}

/// A token, and whether it is one that was kept. `refused` is not given again.
pub(super) async fn token(
    session: &Session<'_>,
    settings: &Settings,
    refused: Option<&str>,
) -> Result<(Zeroizing<String>, bool), Failure> {
    // Before a kept one is looked at: the grant may have been taken back.
    Way::of(&settings.authority, "", session.opener.allowed())?;
    // What a connection's name leads to is each tenant's own, so that equal settings may mean another authority.
    let tenant = session.opener.allowed().tenant.as_str();
    let slot = session.inner.tokens.slot(Sha256::digest([&settings.digest[..], tenant.as_bytes()].concat()).into());
    let mut kept = slot.lock().await;
    let now = session.inner.clock.now();
    if let Some(Kept { token, until }) = &*kept
        && *until > now
        && refused != Some(token.as_str())
    {
        return Ok((token.clone(), true));
    }
    *kept = None;
    let (token, lifetime) = ask(session, settings).await?;
    if let Some(lifetime) = lifetime {
        *kept = now.checked_add(lifetime - MARGIN).ok().map(|until| Kept { token: token.clone(), until });
    }
    Ok((token, false))
}

/// Asks for a token; gives it with its lifetime, where that was told.
async fn ask(
    session: &Session<'_>,
    settings: &Settings,
) -> Result<(Zeroizing<String>, Option<SignedDuration>), Failure> {
    let endpoint = match &settings.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => discovered(session, settings).await?,
    };
    let way = Way::of(&endpoint, "", session.opener.allowed())?;
    let wire = settings.request(session, way, &endpoint)?;
    let reply = session.fetch(&wire).await?;
    granted(session, &wire, &reply)
}

/// The token endpoint by OpenID Connect Discovery 1.0.
async fn discovered(session: &Session<'_>, settings: &Settings) -> Result<String, Failure> {
    let place = format!("{}/.well-known/openid-configuration", settings.authority.trim_end_matches('/'));
    let way = Way::of(&place, "", session.opener.allowed())?;
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let wire = Wire { method: Method::GET, way, headers, body: None };
    let reply = session.fetch(&wire).await?;
    if !reply.status.is_success() {
        return Err(refused(session, &wire, &reply));
    }
    let document: Json = serde_json::from_slice(&reply.body).unwrap_or_default();
    let issuer = document["issuer"].as_str().unwrap_or_default();
    if !settings.issuers.is_empty() && !settings.issuers.iter().any(|known| known == issuer) {
        let text =
            format!("`{}` says its issuer is `{}`, which is none of `issuers`", wire.way, failure::shown(issuer));
        return Err(failure::unauthenticated(text));
    }
    match document["token_endpoint"].as_str() {
        Some(endpoint) => Ok(endpoint.to_owned()),
        None => Err(failure::unauthenticated(format!("the document at {} has no `token_endpoint`", wire.way))),
    }
}

fn granted(
    session: &Session<'_>,
    wire: &Wire,
    reply: &Reply,
) -> Result<(Zeroizing<String>, Option<SignedDuration>), Failure> {
    if !reply.status.is_success() {
        return Err(refused(session, wire, reply));
    }
    let answer: Json = serde_json::from_slice(&reply.body).unwrap_or_default();
    let kind = answer["token_type"].as_str().unwrap_or("Bearer");
    if !kind.eq_ignore_ascii_case("bearer") && !kind.eq_ignore_ascii_case("n_a") {
        let text = format!("{} gave a token of type `{}`; only bearer tokens are used", wire.way, failure::shown(kind));
        return Err(failure::unauthenticated(text));
    }
    let Some(token) = answer["access_token"].as_str() else {
        return Err(failure::unauthenticated(format!("the answer of {} has no `access_token`", wire.way)));
    };
    session.opener.keep(token);
    // Some write the number as text.
    let seconds = answer["expires_in"].as_f64().or_else(|| answer["expires_in"].as_str()?.parse().ok());
    let lifetime = seconds.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
    Ok((token.to_owned().into(), lifetime.map(|lifetime| lifetime.min(KEPT_MAX))))
}

/// A refusal of the token endpoint: the client's fault, or a fault of the other side that may pass.
fn refused(session: &Session<'_>, wire: &Wire, reply: &Reply) -> Failure {
    let status = reply.status;
    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return failure::answered(&wire.method, &wire.way, status, &reply.headers, "", session.inner.clock.now());
    }
    let answer: Json = serde_json::from_slice(&reply.body).unwrap_or_default();
    let said = ["error", "error_description"].iter().filter_map(|name| answer[name].as_str());
    let said: String = said.map(|text| format!(": {}", failure::shown(&session.opener.hide(text)))).collect();
    let text = format!("{} {} was answered {}{said}", wire.method, wire.way, failure::named(status));
    failure::unauthenticated(text)
}

impl Settings {
    /// Reads the members of `oauth2`, or of `oidc`.
    pub(super) fn read(members: &Json, discovery: bool) -> Result<Self, Failure> {
        let scheme = if discovery { "oidc" } else { "oauth2" };
        let authority = match &members["authority"] {
            Json::Object(endpoint) => endpoint.get("uri").and_then(Json::as_str).unwrap_or_default().to_owned(),
            _ => required(members, scheme, "authority")?,
        };
        let encoding = members["request"]["encoding"].as_str().unwrap_or_default();
        Ok(Self {
            endpoint: (!discovery).then(|| token_endpoint(&authority, members)),
            client: Client::read(&members["client"])?,
            as_json: encoding.starts_with("application/json"),
            issuers: texts(&members["issuers"]),
            members: request_members(members, scheme)?,
            digest: Sha256::digest(json!([scheme, members]).to_string()).into(),
            authority,
        })
    }

    fn request(&self, session: &Session<'_>, way: Way, endpoint: &str) -> Result<Wire, Failure> {
        let mut members = self.members.clone();
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        self.client.show(session, endpoint, &mut members, &mut headers)?;
        let (kind, body) = if self.as_json {
            let members = members.into_iter().map(|(name, value)| (name.to_owned(), Json::String(value)));
            ("application/json", Json::Object(members.collect()).to_string())
        } else {
            let body = Serializer::new(String::new()).extend_pairs(members).finish();
            ("application/x-www-form-urlencoded", body)
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Ok(Wire { method: Method::POST, way, headers, body: Some(body.into()) })
    }
}

fn token_endpoint(authority: &str, members: &Json) -> String {
    let path = members["endpoints"]["token"].as_str().unwrap_or("/oauth2/token");
    if path.contains("://") {
        return path.to_owned();
    }
    format!("{}/{}", authority.trim_end_matches('/'), path.trim_start_matches('/'))
}

fn request_members(members: &Json, scheme: &str) -> Result<Vec<(&'static str, String)>, Failure> {
    let grant = members["grant"].as_str().unwrap_or("client_credentials");
    let mut request = vec![("grant_type", grant.to_owned())];
    match grant {
        "client_credentials" => {}
        "password" => {
            request.push(("username", required(members, scheme, "username")?));
            request.push(("password", required(members, scheme, "password")?));
        }
        "refresh_token" => {
            let token = ["refreshToken", "refresh_token"].iter().find_map(|name| members[name].as_str());
            let token = token.map_or_else(
                || required(&members["subject"], "oauth2: subject", "token"),
                |token| Ok(token.to_owned()),
            );
            request.push(("refresh_token", token?));
        }
        TOKEN_EXCHANGE => {
            let kind = |party: &Json| party["type"].as_str().unwrap_or(ACCESS_TOKEN).to_owned();
            request.push(("subject_token", required(&members["subject"], "oauth2: subject", "token")?));
            request.push(("subject_token_type", kind(&members["subject"])));
            if let Some(token) = members["actor"]["token"].as_str() {
                request.push(("actor_token", token.to_owned()));
                request.push(("actor_token_type", kind(&members["actor"])));
            }
        }
        other => {
            let text = format!(
                "the grant `{other}` needs a person at a browser or is not known; write `client_credentials`, `password`, \
                 `refresh_token` or `{TOKEN_EXCHANGE}`"
            );
            return Err(failure::configuration(text));
        }
    }
    let scopes = texts(&members["scopes"]);
    if !scopes.is_empty() {
        request.push(("scope", scopes.join(" ")));
    }
    request.extend(texts(&members["audiences"]).into_iter().map(|audience| ("audience", audience)));
    Ok(request)
}

fn texts(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

impl Client {
    fn read(client: &Json) -> Result<Self, Failure> {
        let text = |name: &str| required(client, "oauth2: client", name);
        let id = client["id"].as_str().map(str::to_owned);
        let assertion = || Ok::<_, Failure>(Self::Assertion { id: id.clone(), assertion: text("assertion")?.into() });
        match client["authentication"].as_str() {
            Some("client_secret_basic") => Ok(Self::Basic { id: text("id")?, secret: text("secret")?.into() }),
            Some("client_secret_jwt") if client["assertion"].is_string() => assertion(),
            Some("client_secret_jwt") => Ok(Self::SecretJwt { id: text("id")?, secret: text("secret")?.into() }),
            Some("private_key_jwt") if client["assertion"].is_string() => assertion(),
            Some("private_key_jwt") => Err(failure::configuration(
                "the client authentication `private_key_jwt` cannot be made here; write the signed `assertion`, or use \
                 `client_secret_basic`, `client_secret_post` or `client_secret_jwt`",
            )),
            Some("none") => Ok(Self::None { id }),
            Some("client_secret_post") => Ok(Self::Post { id: text("id")?, secret: text("secret")?.into() }),
            Some(other) => {
                let text = format!(
                    "the client authentication `{other}` is not known; known are client_secret_basic, \
                     client_secret_post, client_secret_jwt, private_key_jwt and none"
                );
                Err(failure::configuration(text))
            }
            None if client["secret"].is_string() => Ok(Self::Post { id: text("id")?, secret: text("secret")?.into() }),
            None if client["assertion"].is_string() => assertion(),
            None => Ok(Self::None { id }),
        }
    }

    /// Puts the client's proof into the request.
    fn show(
        &self,
        session: &Session<'_>,
        endpoint: &str,
        members: &mut Vec<(&'static str, String)>,
        headers: &mut HeaderMap,
    ) -> Result<(), Failure> {
        match self {
            Self::None { id } => members.extend(id.clone().map(|id| ("client_id", id))),
            Self::Basic { id, secret } => {
                headers.insert(AUTHORIZATION, basic(session, id, secret)?);
            }
            Self::Post { id, secret } => {
                members.push(("client_id", id.clone()));
                members.push(("client_secret", secret.to_string()));
            }
            Self::SecretJwt { id, secret } => {
                members.push(("client_id", id.clone()));
                members.push(("client_assertion_type", JWT_BEARER.to_owned()));
                members.push(("client_assertion", signed(id, secret, endpoint, session.inner.clock.now())));
            }
            Self::Assertion { id, assertion } => {
                members.extend(id.clone().map(|id| ("client_id", id)));
                members.push(("client_assertion_type", JWT_BEARER.to_owned()));
                members.push(("client_assertion", assertion.to_string()));
            }
        }
        Ok(())
    }
}

/// Both parts are form-encoded first (RFC 6749, 2.3.1).
fn basic(session: &Session<'_>, id: &str, secret: &str) -> Result<HeaderValue, Failure> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))));
    session.opener.keep(&pair);
    let value = HeaderValue::from_str(&format!("Basic {}", pair.as_str()));
    let mut value = value.map_err(|_| failure::unauthenticated("the client cannot stand in a field of HTTP"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An assertion of the client about itself, signed with its secret (RFC 7523, OpenID Connect Core 9).
fn signed(id: &str, secret: &str, audience: &str, now: Timestamp) -> String {
    let seconds = now.as_second();
    let claims = json!({
        "iss": id, "sub": id, "aud": audience, "jti": nonce(), "iat": seconds, "exp": seconds + ASSERTION_SECONDS,
    });
    let part = |value: &Json| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(&claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}
