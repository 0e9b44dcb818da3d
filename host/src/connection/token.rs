//! Bearer tokens of an OAuth 2 token endpoint (RFC 6749, sections 4.3 and 4.4) for a connection's requests: asked for when
//! first needed, kept in memory until shortly before they end, and dropped when the outside refuses one. Requests of one
//! connection share a token, and only one of them asks for it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::authentication::reveal;
use super::declaration::Authentication;
use super::secrets::Secrets;
use super::transport::{self, Carrier, Payload, SendError};
use crate::model::SecretName;

/// A token is not used any more so long before it ends: the request with it has to arrive in time.
const MARGIN: Duration = Duration::from_secs(10);

/// How long a token is kept whose lifetime was not told; the shortest that is common.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);

/// No token is kept longer, whatever the other side says; it is only asked for once more then.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// An answer's bytes, at most; tokens with many claims have some kilobytes.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// Characters of the other side's words that are told.
const TOLD_CHARACTERS: usize = 200;

/// The token of one connection.
#[derive(Default)]
pub(super) struct Tokens(Mutex<Option<Kept>>);

struct Kept {
    value: HeaderValue,
    until: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Refused {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Tokens {
    /// The value of `Authorization`, where the scheme takes tokens from an endpoint.
    ///
    /// # Errors
    /// [`SendError::Unavailable`]: no token was to be had; the request it is for was not sent.
    pub(super) async fn authorization(
        &self,
        scheme: &Authentication,
        secrets: &Secrets,
        carrier: &Carrier,
        deadline: Instant,
    ) -> Result<Option<HeaderValue>, SendError> {
        let Authentication::OAuth2 { token_url, .. } = scheme else { return Ok(None) };
        let mut kept = self.0.lock().await;
        if let Some(Kept { value, until }) = &*kept
            && Instant::now() < *until
        {
            return Ok(Some(value.clone()));
        }
        *kept = None;
        let payload = Payload::Bytes(form(scheme, secrets)?);
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
        ]);
        let asked = transport::send(carrier, Method::POST, token_url.clone(), headers, payload, deadline, None).await;
        let incoming = asked.map_err(|error| none(&error.to_string()))?;
        let status = incoming.status;
        let body = incoming.collect(ANSWER_BYTES_MAX).await.map_err(|error| none(&error.to_string()))?;
        let granted = read(status, &body)?;
        let value = granted.value.clone();
        *kept = Some(granted);
        Ok(Some(value))
    }

    /// Drops the token: the outside refused it.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

fn form(scheme: &Authentication, secrets: &Secrets) -> Result<Bytes, SendError> {
    let Authentication::OAuth2 { client_id, client_secret, username, password, scopes, .. } = scheme else {
        return Ok(Bytes::new());
    };
    let text = |name: &SecretName| -> Result<Zeroizing<String>, SendError> {
        let value = reveal(secrets, name)?;
        let text = std::str::from_utf8(&value).map(|text| Zeroizing::new(text.to_owned()));
        text.map_err(|_| none(&format!("the secret `{name}` is no text; store it again")))
    };
    let mut form = Serializer::new(String::new());
    form.append_pair("client_id", client_id);
    if let Some(secret) = client_secret {
        form.append_pair("client_secret", &text(secret)?);
    }
    match username {
        None => form.append_pair("grant_type", "client_credentials"),
        Some(username) => form.append_pair("grant_type", "password").append_pair("username", username),
    };
    if let Some(password) = password {
        form.append_pair("password", &text(password)?);
    }
    if !scopes.is_empty() {
        form.append_pair("scope", &scopes.join(" "));
    }
    Ok(form.finish().into())
}

fn read(status: StatusCode, body: &[u8]) -> Result<Kept, SendError> {
    if !status.is_success() {
        let Refused { error, error_description } = serde_json::from_slice(body).unwrap_or_default();
        let said: String = format!("{error} {error_description}").trim().chars().take(TOLD_CHARACTERS).collect();
        return Err(none(&format!("the token endpoint answered {}: {said}", status.as_u16())));
    }
    let granted: Granted = serde_json::from_slice(body).map_err(|_| none("the token endpoint gave no token"))?;
    let bearer = Zeroizing::new(format!("Bearer {}", granted.access_token));
    let mut value = HeaderValue::from_str(&bearer).map_err(|_| none("the token cannot stand in a request"))?;
    value.set_sensitive(true);
    let lifetime = granted.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let lifetime = lifetime.unwrap_or(LIFETIME_DEFAULT).min(LIFETIME_MAX);
    Ok(Kept { value, until: Instant::now() + lifetime.saturating_sub(MARGIN) })
}

fn none(why: &str) -> SendError {
    SendError::Unavailable(format!(
        "the connection has no token: {why}; check its `tokenUrl`, `clientId` and the secrets that it names"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::client::{Client, Outgoing};
    use crate::connection::secrets::SecretStore;
    use crate::connection::transport::StandIn;
    use crate::journal::memory::MemoryJournal;
    use crate::model::ConnectionName;
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use serde_json::json;
    use std::sync::{Arc, Mutex as StdMutex};

    /// A token endpoint and an interface behind it that takes the newest token only.
    #[derive(Default)]
    struct Outside {
        forms: StdMutex<Vec<String>>,
        expires_in: f64,
        refuses: bool,
        forgets: StdMutex<bool>,
    }

    impl StandIn for Outside {
        fn answer(
            &self,
            request: http::Request<Bytes>,
        ) -> BoxFuture<'static, Result<http::Response<Bytes>, SendError>> {
            let answer = |status: u16, body: serde_json::Value| {
                Ok(http::Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap())
            };
            let mut forms = self.forms.lock().unwrap();
            let answer = if request.uri().path() == "/token" {
                forms.push(String::from_utf8(request.body().to_vec()).unwrap());
                match self.refuses {
                    true => answer(401, json!({"error": "invalid_client", "error_description": "who?"})),
                    false => {
                        let token = format!("t{}", forms.len());
                        answer(200, json!({"access_token": token, "expires_in": self.expires_in}))
                    }
                }
            } else {
                let shown = request.headers()["authorization"].to_str().unwrap().to_owned();
                let refused = std::mem::take(&mut *self.forgets.lock().unwrap());
                answer(if refused { 401 } else { 200 }, json!(shown))
            };
            async move { answer }.boxed()
        }
    }

    async fn client(outside: Arc<Outside>, more: serde_json::Value) -> (Client, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let secrets = SecretStore::open(Arc::new(MemoryJournal::new()), &directory.path().join("key"))
            .unwrap()
            .of(&Default::default());
        secrets.put(&SecretName::parse("s").unwrap(), b"s3cret&\n").await.unwrap();
        let mut scheme = json!({"scheme": "oauth2", "tokenUrl": "https://sso.example/token", "clientId": "me"});
        scheme.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let declaration = json!({"baseUrl": "https://a.example/v1", "authentication": scheme});
        let declaration = serde_json::from_value(declaration).unwrap();
        let name = ConnectionName::parse("a").unwrap();
        (Client::standing_in(name, declaration, secrets, outside), directory)
    }

    async fn ask(client: &Client) -> Result<(u16, String), SendError> {
        let outgoing = Outgoing {
            method: Method::GET,
            target: "/x".to_owned(),
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            timeout: None,
            idempotency_key: "k".to_owned(),
        };
        let incoming = client.send(outgoing).await?;
        let status = incoming.status.as_u16();
        Ok((status, serde_json::from_slice(&incoming.collect(1000).await?).unwrap()))
    }

    #[tokio::test]
    async fn a_token_is_asked_for_once_and_again_when_it_is_refused() {
        let outside = Arc::new(Outside { expires_in: 300.0, ..Outside::default() });
        let (client, _directory) = client(outside.clone(), json!({"clientSecret": "s", "scopes": ["a", "b"]})).await;
        for _ in 0..2 {
            assert_eq!(ask(&client).await, Ok((200, "Bearer t1".to_owned())));
        }
        let form = "client_id=me&client_secret=s3cret%26&grant_type=client_credentials&scope=a+b";
        assert_eq!(*outside.forms.lock().unwrap(), [form]);
        *outside.forgets.lock().unwrap() = true;
        assert_eq!(ask(&client).await, Ok((401, "Bearer t1".to_owned())));
        assert_eq!(ask(&client).await, Ok((200, "Bearer t2".to_owned())));
    }

    #[tokio::test]
    async fn a_token_that_is_about_to_end_is_not_used_again() {
        let outside = Arc::new(Outside { expires_in: 5.0, ..Outside::default() });
        let (client, _directory) = client(outside.clone(), json!({"username": "ann", "password": "s"})).await;
        assert_eq!(ask(&client).await, Ok((200, "Bearer t1".to_owned())));
        assert_eq!(ask(&client).await, Ok((200, "Bearer t2".to_owned())));
        let form = "client_id=me&grant_type=password&username=ann&password=s3cret%26";
        assert_eq!(outside.forms.lock().unwrap()[0], form);
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_check_and_no_secret() {
        let outside = Arc::new(Outside { refuses: true, ..Outside::default() });
        let (refused, _directory) = client(outside.clone(), json!({"clientSecret": "s"})).await;
        let error = ask(&refused).await.unwrap_err().to_string();
        assert!(error.contains("401: invalid_client who?") && error.contains("clientId"), "{error}");
        assert!(!error.contains("s3cret") && !error.contains("sso.example"), "{error}");
        let (missing, _directory) = client(outside, json!({"clientSecret": "gone"})).await;
        let error = ask(&missing).await.unwrap_err().to_string();
        assert!(error.contains("orchctl secret set gone"), "{error}");
    }
}
