//! AWS Signature Version 4, by the `aws-sigv4` crate. Here are only the choices around it: what is signed, and how a
//! URL is spelled so that the server computes the same canonical request.
//!
//! For S3 the path is signed as it is sent (no normalisation, no second encoding), so it is first brought into the one
//! canonical spelling; a streamed body is signed as `UNSIGNED-PAYLOAD`. Other services get the general rules.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use url::Url;

/// What S3 leaves unencoded in a key: RFC 3986 unreserved characters; the slash is kept apart.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// With what to sign.
pub(super) struct Signer<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a str,
}

/// The body, as far as it is signed.
pub(super) enum SignedBody<'a> {
    /// Known bytes.
    Bytes(&'a [u8]),
    /// A stream, whose bytes are not known yet.
    Unsigned,
}

impl Signer<'_> {
    /// Spells the URL canonically (S3) and adds the fields of the signature to `headers`.
    ///
    /// # Errors
    /// A field is not fit to be signed; the text has no value in it.
    pub(super) fn sign(
        &self,
        method: &Method,
        url: &mut Url,
        headers: &mut HeaderMap,
        body: &SignedBody<'_>,
        now: SystemTime,
    ) -> Result<(), String> {
        if self.service == "s3" {
            spell_canonically(url);
        }
        let identity = Credentials::new(self.access_key_id, self.secret_access_key, None, None, "connection").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(now)
            .settings(self.settings())
            .build()
            .map_err(|error| format!("sign the request: {error}"))?
            .into();
        let fields = headers.clone(); // The signature is added to `headers` while these are borrowed.
        let signed = signed_fields(&fields)?;
        let body = match body {
            SignedBody::Bytes(bytes) => SignableBody::Bytes(bytes),
            SignedBody::Unsigned => SignableBody::UnsignedPayload,
        };
        let request = SignableRequest::new(method.as_str(), url.as_str(), signed.into_iter(), body)
            .map_err(|_| "sign the request: its URL cannot be signed".to_owned())?;
        let (instructions, _) = sign(request, &parameters)
            .map_err(|_| "sign the request: a field cannot be signed".to_owned())?
            .into_parts();
        for (name, value) in instructions.headers() {
            let mut value = HeaderValue::from_str(value).expect("a signature is printable ASCII");
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).expect("the crate's own field names"), value);
        }
        Ok(())
    }

    fn settings(&self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        if self.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        settings
    }
}

/// The fields whose change on the way would change the request's meaning; `host` is added by the crate.
fn signed_fields(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, String> {
    headers
        .iter()
        .filter(|(name, _)| {
            name.as_str().starts_with("x-amz-") || matches!(name.as_str(), "content-type" | "content-md5")
        })
        .map(|(name, value)| {
            let value = value.to_str().map_err(|_| format!("write the field `{name}` in printable ASCII"))?;
            Ok((name.as_str(), value))
        })
        .collect()
}

/// Encodes exactly what S3 encodes when it computes the signature of what it received.
fn spell_canonically(url: &mut Url) {
    let path = url.path().split('/').map(respell).collect::<Vec<_>>().join("/");
    url.set_path(&path);
    let Some(query) = url.query() else { return };
    let query = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => format!("{}={}", respell_query(name), respell_query(value)),
            None => respell_query(pair),
        })
        .collect::<Vec<_>>()
        .join("&");
    url.set_query(Some(&query));
}

fn respell(text: &str) -> String {
    percent_encode(&percent_decode_str(text).collect::<Vec<_>>(), ENCODED).to_string()
}

/// A bare `+` in a query is a space to S3.
fn respell_query(text: &str) -> String {
    respell(&text.replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// 2015-08-30T12:36:00Z, the time of the published test suite.
    fn then() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)
    }

    fn signature(service: &str, method: Method, url: &str, fields: &[(&'static str, &str)], body: &[u8]) -> String {
        let signer = Signer {
            region: "us-east-1",
            service,
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        };
        let mut headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let mut url = Url::parse(url).unwrap();
        signer.sign(&method, &mut url, &mut headers, &SignedBody::Bytes(body), then()).unwrap();
        headers["authorization"].to_str().unwrap().rsplit('=').next().unwrap().to_owned()
    }

    #[test]
    fn the_signatures_are_those_of_the_published_test_suite() {
        let check = |name: &str, method: Method, target: &str, fields: &[(&'static str, &str)], expected: &str| {
            let url = format!("https://example.amazonaws.com{target}");
            assert_eq!(signature("service", method, &url, fields, b""), expected, "{name}");
        };
        check("get-vanilla", Method::GET, "/", &[], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        check(
            "get-vanilla-query-order-encoded",
            Method::GET,
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            &[],
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        );
        check(
            "get-vanilla-query-unreserved",
            Method::GET,
            "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            &[],
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        );
    }

    /// The examples of the S3 reference, "Authenticating Requests: Using the Authorization Header".
    #[test]
    fn the_signature_of_a_listing_is_that_of_the_s3_reference() {
        let signer = Signer {
            region: "us-east-1",
            service: "s3",
            access_key_id: "AKIAIOSFODNN7EXAMPLE",
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        };
        let check = |target: &str, expected: &str| {
            let mut headers = HeaderMap::new();
            let mut url = Url::parse(&format!("https://examplebucket.s3.amazonaws.com{target}")).unwrap();
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
            signer.sign(&Method::GET, &mut url, &mut headers, &SignedBody::Bytes(b""), now).unwrap();
            let authorization = headers["authorization"].to_str().unwrap();
            assert!(authorization.ends_with(expected), "{target}: {authorization}");
        };
        check("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
        check("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn a_key_has_one_spelling_however_the_guest_wrote_it() {
        let check = |target: &str, expected: &str| {
            let mut url = Url::parse(&format!("http://s3.example{target}")).unwrap();
            spell_canonically(&mut url);
            assert_eq!(url.as_str(), format!("http://s3.example{expected}"), "{target}");
        };
        check("/b/a+b", "/b/a%2Bb");
        check("/b/a%2bb", "/b/a%2Bb");
        check("/b/a%20b", "/b/a%20b");
        check("/b/%C3%A4(1)!'*", "/b/%C3%A4%281%29%21%27%2A");
        check("/b/%7Ea%41", "/b/~aA");
        check("/b//c/", "/b//c/");
        check("/b/x%2Fy", "/b/x%2Fy");
        check("/b?prefix=a/b+c&list-type=2&uploads", "/b?prefix=a%2Fb%20c&list-type=2&uploads");
    }

    #[test]
    fn a_streamed_body_is_declared_unsigned() {
        let signer = Signer { region: "r", service: "s3", access_key_id: "id", secret_access_key: "key" };
        let mut headers = HeaderMap::new();
        let mut url = Url::parse("http://s3.example:9000/b/k").unwrap();
        signer.sign(&Method::PUT, &mut url, &mut headers, &SignedBody::Unsigned, then()).unwrap();
        assert_eq!(headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
        assert!(headers["authorization"].is_sensitive());
    }
}
