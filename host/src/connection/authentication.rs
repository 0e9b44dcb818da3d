//! Puts a connection's authentication on a request that is ready to go. Only here do secrets become fields of a request.
//! A scheme that needs requests of its own (`oauth2`) keeps its token beside the client; see `token`.

use std::time::SystemTime;

use base64::Engine as _;
use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;
use zeroize::Zeroizing;

use super::declaration::Authentication;
use super::secrets::Secrets;
use super::signature::{SignedBody, Signer};
use super::transport::SendError;
use crate::model::SecretName;

/// Authenticates the request.
///
/// # Errors
/// [`SendError::Unavailable`] where a secret is missing or unfit; the text names the secret and its cure, never a value.
pub(super) fn authenticate(
    scheme: &Authentication,
    secrets: &Secrets,
    method: &Method,
    url: &mut Url,
    headers: &mut HeaderMap,
    body: &SignedBody<'_>,
    now: SystemTime,
) -> Result<(), SendError> {
    match scheme {
        // The token of `oauth2` is put on by the client, which keeps it.
        Authentication::None | Authentication::OAuth2 { .. } => Ok(()),
        Authentication::Basic { username, password } => {
            let password = reveal(secrets, password)?;
            let pair = Zeroizing::new([username.as_bytes(), b":", &password].concat());
            let text = Zeroizing::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(&pair)));
            put(headers, AUTHORIZATION, text.as_bytes(), "password")
        }
        Authentication::Bearer { token } => {
            let token = reveal(secrets, token)?;
            put(headers, AUTHORIZATION, &Zeroizing::new([b"Bearer ", token.as_slice()].concat()), "token")
        }
        Authentication::Header { name, value } => {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit("header"))?;
            put(headers, name, &reveal(secrets, value)?, "value")
        }
        Authentication::Hmac { key, header } => {
            let name = HeaderName::from_bytes(header.as_bytes()).map_err(|_| unfit("header"))?;
            let value = super::hmac::sign(&reveal(secrets, key)?, body, now).map_err(SendError::Invalid)?;
            put(headers, name, value.as_bytes(), "key")
        }
        Authentication::Path { value } => {
            let end = reveal(secrets, value)?;
            let end = std::str::from_utf8(&end).ok().filter(|end| is_path(end)).ok_or_else(|| unfit("value"))?;
            let path = Zeroizing::new(format!("{}/{}", url.path().trim_end_matches('/'), end.trim_matches('/')));
            url.set_path(&path);
            Ok(())
        }
        Authentication::AwsSigV4 { region, service, access_key_id, secret_access_key } => {
            let secret = reveal(secrets, secret_access_key)?;
            let secret_access_key = std::str::from_utf8(&secret).map_err(|_| unfit("secretAccessKey"))?;
            let signer = Signer { region, service, access_key_id, secret_access_key };
            signer.sign(method, url, headers, body, now).map_err(SendError::Invalid)
        }
    }
}

/// The fields that a guest may not set because the scheme does.
pub(super) fn reserves(scheme: &Authentication, name: &HeaderName) -> bool {
    match scheme {
        Authentication::Header { name: own, .. } => own.eq_ignore_ascii_case(name.as_str()),
        Authentication::Hmac { header: own, .. } => own.eq_ignore_ascii_case(name.as_str()),
        Authentication::AwsSigV4 { .. } => {
            matches!(name.as_str(), "x-amz-date" | "x-amz-content-sha256" | "x-amz-security-token")
        }
        _ => false,
    }
}

/// Whether a secret can stand as the end of a path and leads nowhere else.
fn is_path(end: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
    end.bytes().all(fits) && !end.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// A secret for a request.
pub(super) fn reveal(secrets: &Secrets, name: &SecretName) -> Result<Zeroizing<Vec<u8>>, SendError> {
    match secrets.reveal(name) {
        Ok(Some(mut value)) => {
            // A value piped from a file ends in a line feed, which no credential has.
            while value.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                value.pop();
            }
            Ok(value)
        }
        Ok(None) => Err(SendError::Unavailable(format!(
            "the connection's secret `{name}` is not stored; store it: `orchctl secret set {name}`"
        ))),
        Err(error) => {
            tracing::error!(secret = %name, %error, "a connection's secret cannot be read");
            Err(SendError::Unavailable(format!("the connection's secret `{name}` cannot be read; store it again")))
        }
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &[u8], member: &str) -> Result<(), SendError> {
    let mut value = HeaderValue::from_bytes(value).map_err(|_| unfit(member))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn unfit(member: &str) -> SendError {
    SendError::Unavailable(format!("the connection's `{member}` cannot stand in a request; store it again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::secrets::SecretStore;
    use crate::journal::memory::MemoryJournal;
    use std::sync::Arc;

    async fn check(scheme: Authentication, field: &str, expected: Result<&str, &str>) {
        let directory = tempfile::tempdir().unwrap();
        let secrets = SecretStore::open(Arc::new(MemoryJournal::new()), &directory.path().join("key"))
            .unwrap()
            .of(&Default::default());
        secrets.put(&SecretName::parse("good").unwrap(), b"s3cret\n").await.unwrap();
        secrets.put(&SecretName::parse("bad").unwrap(), b"a\nb").await.unwrap();
        let (mut url, mut headers) = (Url::parse("https://a.example/").unwrap(), HeaderMap::new());
        let body = SignedBody::Bytes(b"");
        let now = SystemTime::UNIX_EPOCH;
        let result = authenticate(&scheme, &secrets, &Method::GET, &mut url, &mut headers, &body, now);
        match expected {
            Ok(value) => {
                result.unwrap();
                assert_eq!(headers[field], value);
                assert!(headers[field].is_sensitive());
            }
            Err(text) => {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(text) && !error.contains("a\nb"), "{error}");
                assert!(headers.is_empty());
            }
        }
    }

    #[tokio::test]
    async fn the_end_of_a_path_is_a_secret_that_leads_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = SecretStore::open(Arc::new(MemoryJournal::new()), &directory.path().join("key"))
            .unwrap()
            .of(&Default::default());
        let name = SecretName::parse("hook").unwrap();
        for (end, expected) in [
            ("T0/B0/xyz\n", Some("https://hooks.example/services/T0/B0/xyz")),
            ("../admin", None),
            ("a?b", None),
            ("a%2e", None),
        ] {
            secrets.put(&name, end.as_bytes()).await.unwrap();
            let mut url = Url::parse("https://hooks.example/services").unwrap();
            let (scheme, body) = (Authentication::Path { value: name.clone() }, SignedBody::Bytes(b""));
            let (mut headers, now) = (HeaderMap::new(), SystemTime::UNIX_EPOCH);
            let result = authenticate(&scheme, &secrets, &Method::POST, &mut url, &mut headers, &body, now);
            assert_eq!(result.is_ok().then_some(url.as_str()), expected, "{end}");
        }
    }

    #[tokio::test]
    async fn each_scheme_writes_its_field() {
        let secret = |name: &str| SecretName::parse(name).unwrap();
        let basic = |password| Authentication::Basic { username: "ann".to_owned(), password };
        let header = |value| Authentication::Header { name: "X-Auth-Token".to_owned(), value };
        check(basic(secret("good")), "authorization", Ok("Basic YW5uOnMzY3JldA==")).await;
        check(Authentication::Bearer { token: secret("good") }, "authorization", Ok("Bearer s3cret")).await;
        check(header(secret("good")), "x-auth-token", Ok("s3cret")).await;
        check(header(secret("bad")), "x-auth-token", Err("store it again")).await;
        let hmac = Authentication::Hmac { key: secret("good"), header: "X-Signature".to_owned() };
        check(hmac, "x-signature", Ok("t=0,v1=f8f098a84b2e4238206d750bcb900ff9df6f839db0660fcc115201787a3bb832")).await;
        check(Authentication::Bearer { token: secret("gone") }, "", Err("orchctl secret set gone")).await;
    }
}
