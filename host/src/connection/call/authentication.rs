//! The schemes of `use.authentications`, put on a request that is ready to go.

use ::http::header::{AUTHORIZATION, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::digest;
use super::oauth2::{self, Settings};
use super::opener::Opener;
use super::{Reply, Session, Wire, failure};
use crate::model::{Failure, Json};

/// The members whose values are secrets, at whatever depth: what a call was given in them is shown nowhere.
const SECRET_MEMBERS: [&str; 6] = ["password", "token", "secret", "assertion", "refreshToken", "refresh_token"];

/// A scheme with its values.
pub(super) enum Scheme {
    /// RFC 7617.
    Basic { username: String, password: Zeroizing<String> },
    /// RFC 6750.
    Bearer { token: Zeroizing<String> },
    /// RFC 7616.
    Digest { username: String, password: Zeroizing<String> },
    /// RFC 6749, by OpenID Connect discovery too.
    Oauth2(Box<Settings>),
}

/// What the first request was sent with.
pub(super) enum First {
    /// Values that a second request would have too.
    Settled,
    /// Nothing: the other side has to ask for it.
    Unasked,
    /// A token that was kept from an earlier call.
    KeptToken(Zeroizing<String>),
}

impl Scheme {
    /// Reads `{<scheme>: {…}}`, or `{<scheme>: {use: <secret>}}` with the members in the secret.
    pub(super) fn read(authentication: &Json, opener: &Opener<'_>) -> Result<Self, Failure> {
        let entry = authentication.as_object().and_then(|members| members.iter().next());
        let Some((scheme, members)) = entry else {
            return Err(failure::configuration("write `authentication` as an object with the scheme as its member"));
        };
        let members = match members["use"].as_str() {
            Some(secret) => of_secret(secret, opener)?,
            None => opener.json(members)?,
        };
        keep_secrets(&members, opener);
        let text = |name: &str| required(&members, scheme, name);
        Ok(match scheme.as_str() {
            "basic" => Self::Basic { username: text("username")?, password: text("password")?.into() },
            "bearer" => Self::Bearer { token: text("token")?.into() },
            "digest" => Self::Digest { username: text("username")?, password: text("password")?.into() },
            "oauth2" | "oidc" => Self::Oauth2(Box::new(Settings::read(&members, scheme == "oidc")?)),
            other => {
                let text = format!("`{other}` is no scheme; known are basic, bearer, digest, oauth2 and oidc");
                return Err(failure::configuration(text));
            }
        })
    }

    /// Authenticates the first request.
    pub(super) async fn first(&self, session: &Session<'_>, wire: &mut Wire) -> Result<First, Failure> {
        match self {
            Self::Basic { username, password } => {
                let pair = Zeroizing::new(format!("{username}:{}", password.as_str()));
                let pair = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
                authorize(session, wire, "Basic", &pair)?;
                Ok(First::Settled)
            }
            Self::Bearer { token } => {
                authorize(session, wire, "Bearer", token)?;
                Ok(First::Settled)
            }
            Self::Digest { .. } => Ok(First::Unasked),
            Self::Oauth2(settings) => {
                let (token, kept) = oauth2::token(session, settings, None).await?;
                authorize(session, wire, "Bearer", &token)?;
                Ok(if kept { First::KeptToken(token) } else { First::Settled })
            }
        }
    }

    /// Authenticates the second request, after the first was answered 401; whether a second one makes sense.
    pub(super) async fn again(
        &self,
        session: &Session<'_>,
        wire: &mut Wire,
        reply: &Reply,
        first: First,
    ) -> Result<bool, Failure> {
        match (self, first) {
            (Self::Digest { username, password }, First::Unasked) => {
                let answer = digest::answer(&reply.headers, wire, username, password, &digest::nonce())?;
                set(wire, &answer)?;
                Ok(true)
            }
            (Self::Oauth2(settings), First::KeptToken(refused)) => {
                // It may have been taken back before its time.
                let (token, _) = oauth2::token(session, settings, Some(&refused)).await?;
                authorize(session, wire, "Bearer", &token)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

fn of_secret(secret: &str, opener: &Opener<'_>) -> Result<Json, Failure> {
    let text = opener.reveal(secret)?;
    match serde_json::from_str::<Json>(&text) {
        Ok(members @ Json::Object(_)) => Ok(members),
        _ => Err(failure::unfit_secret(format!(
            "secret `{secret}` does not hold the scheme's members; store it as a JSON object, `{{\"username\": …}}`"
        ))),
    }
}

fn keep_secrets(members: &Json, opener: &Opener<'_>) {
    let Json::Object(members) = members else { return };
    for (name, value) in members {
        match value {
            Json::String(text) if SECRET_MEMBERS.contains(&name.as_str()) => opener.keep(text),
            inner => keep_secrets(inner, opener),
        }
    }
}

/// A member that has to be there, as text.
pub(super) fn required(members: &Json, scheme: &str, name: &str) -> Result<String, Failure> {
    match &members[name] {
        Json::String(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err(failure::unauthenticated(format!("the authentication `{scheme}` has no `{name}`; add it as text"))),
    }
}

fn authorize(session: &Session<'_>, wire: &mut Wire, scheme: &str, value: &str) -> Result<(), Failure> {
    session.opener.keep(value);
    set(wire, &Zeroizing::new(format!("{scheme} {value}")))
}

fn set(wire: &mut Wire, text: &str) -> Result<(), Failure> {
    let value = HeaderValue::from_bytes(text.as_bytes());
    let mut value = value.map_err(|_| failure::unauthenticated("the credentials cannot stand in a field of HTTP"))?;
    value.set_sensitive(true);
    wire.headers.insert(AUTHORIZATION, value);
    Ok(())
}
