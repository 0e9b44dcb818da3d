//! A small S3 client for the harness: fills buckets, reads them back, compares them. Signed by `aws-sigv4`.
//!
//! It deliberately shares no code with the pack under test, so that a mistake there is not repeated here.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context, bail};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use futures_util::StreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Method;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::REGION;

const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key, decoded.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// The entity tag without quotes.
    pub etag: String,
}

/// Talks to one server with one pair of keys. Cheap to clone.
#[derive(Clone)]
pub struct S3Client {
    url: String,
    credentials: Credentials,
    http: reqwest::Client,
}

impl S3Client {
    /// A client for the server at `url`.
    pub fn new(url: &str, access: &str, secret: &str) -> Self {
        crate::tls_ready();
        let http = reqwest::Client::builder().tcp_nodelay(true).no_proxy().build();
        Self {
            url: url.trim_end_matches('/').to_owned(),
            credentials: Credentials::from_keys(access, secret, None),
            http: http.expect("a client without TLS files can always be built"),
        }
    }

    /// Creates a bucket.
    ///
    /// # Errors
    /// When it exists already or the server refuses.
    pub async fn create_bucket(&self, bucket: &str) -> anyhow::Result<()> {
        self.call(Method::PUT, bucket, "", &[], &[], Bytes::new()).await.map(drop)
    }

    /// Stores an object in one request, with header fields such as `content-type` or `x-amz-meta-…`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn put(&self, bucket: &str, key: &str, headers: &[(&str, &str)], body: Bytes) -> anyhow::Result<()> {
        self.call(Method::PUT, bucket, key, &[], headers, body).await.map(drop)
    }

    /// Stores an object in parts of `part_bytes` (at least 5 MiB).
    ///
    /// # Errors
    /// When the server refuses one of the requests.
    pub async fn put_in_parts(
        &self,
        bucket: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        part_bytes: usize,
    ) -> anyhow::Result<()> {
        let part = |start: usize| body.slice(start..body.len().min(start + part_bytes));
        let parts = (1..).zip((0..body.len()).step_by(part_bytes).map(part)).collect();
        self.put_these_parts(bucket, key, headers, parts).await
    }

    /// Stores an object in these parts, by their numbers, sent in this order; a later part replaces one of the same number.
    ///
    /// # Errors
    /// When the server refuses one of the requests.
    pub async fn put_these_parts(
        &self,
        bucket: &str,
        key: &str,
        headers: &[(&str, &str)],
        parts: Vec<(u32, Bytes)>,
    ) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Started {
            upload_id: String,
        }
        let answer = self.call(Method::POST, bucket, key, &[("uploads", "")], headers, Bytes::new()).await?;
        let id = quick_xml::de::from_str::<Started>(&answer.text().await?)?.upload_id;
        let mut etags = BTreeMap::new();
        for (number, part) in parts {
            let query = [("partNumber", number.to_string()), ("uploadId", id.clone())];
            let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = self.call(Method::PUT, bucket, key, &query, &[], part).await?;
            let etag = answer.headers().get("etag").context("a part without ETag")?.to_str()?.trim_matches('"');
            etags.insert(number, etag.to_owned());
        }
        let part = |(number, etag): (u32, String)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        let list: String = etags.into_iter().map(part).collect();
        let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        self.call(Method::POST, bucket, key, &[("uploadId", &id)], &[], list.into()).await.map(drop)
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// When it does not exist or the transfer breaks.
    pub async fn get(&self, bucket: &str, key: &str) -> anyhow::Result<Bytes> {
        Ok(self.call(Method::GET, bucket, key, &[], &[], Bytes::new()).await?.bytes().await?)
    }

    /// The header fields of an object.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn head(&self, bucket: &str, key: &str) -> anyhow::Result<http::HeaderMap> {
        Ok(self.call(Method::HEAD, bucket, key, &[], &[], Bytes::new()).await?.headers().clone())
    }

    /// The length and the SHA-256 of an object, read as a stream.
    ///
    /// # Errors
    /// When it does not exist or the transfer breaks.
    pub async fn digest(&self, bucket: &str, key: &str) -> anyhow::Result<(u64, String)> {
        let mut body = self.call(Method::GET, bucket, key, &[], &[], Bytes::new()).await?.bytes_stream();
        let (mut hash, mut length) = (Sha256::new(), 0);
        while let Some(piece) = body.next().await {
            let piece = piece?;
            length += piece.len() as u64;
            hash.update(&piece);
        }
        Ok((length, hex::encode(hash.finalize())))
    }

    /// Removes an object; that it is absent is no error.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(&self, bucket: &str, key: &str) -> anyhow::Result<()> {
        self.call(Method::DELETE, bucket, key, &[], &[], Bytes::new()).await.map(drop)
    }

    /// Lists all objects below a prefix, in key order, page by page.
    ///
    /// # Errors
    /// When the bucket does not exist or a page is not understood.
    pub async fn list(&self, bucket: &str, prefix: &str) -> anyhow::Result<Vec<Listed>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Contents {
            key: String,
            size: u64,
            #[serde(rename = "ETag")]
            etag: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            #[serde(default)]
            contents: Vec<Contents>,
            next_continuation_token: Option<String>,
        }
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut query = vec![("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)];
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            let answer = self.call(Method::GET, bucket, "", &query, &[], Bytes::new()).await?.text().await?;
            let answer: Answer = quick_xml::de::from_str(&answer)?;
            for object in answer.contents {
                let key = percent_decode_str(&object.key).decode_utf8()?.into_owned();
                all.push(Listed { key, size: object.size, etag: object.etag.trim_matches('"').to_owned() });
            }
            match answer.next_continuation_token {
                Some(next) => token = Some(next),
                None => return Ok(all),
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<reqwest::Response> {
        let url = self.address(bucket, key, query);
        let mut request = http::Request::builder().method(method.clone()).uri(&url).body(body)?;
        for (name, value) in headers {
            request.headers_mut().insert(http::HeaderName::from_bytes(name.as_bytes())?, value.parse()?);
        }
        self.sign(&mut request)?;
        let answer = self.http.execute(request.try_into()?).await.with_context(|| format!("{method} {url}"))?;
        let status = answer.status();
        if !status.is_success() {
            bail!("{method} {url}: {status} {}", answer.text().await.unwrap_or_default());
        }
        Ok(answer)
    }

    fn address(&self, bucket: &str, key: &str, query: &[(&str, &str)]) -> String {
        let mut url = format!("{}/{bucket}", self.url);
        if !key.is_empty() {
            url += &format!("/{}", utf8_percent_encode(key, PATH));
        }
        for (index, (name, value)) in query.iter().enumerate() {
            let sign = if index == 0 { '?' } else { '&' };
            url += &format!("{sign}{name}={}", utf8_percent_encode(value, QUERY));
        }
        url
    }

    fn sign(&self, request: &mut http::Request<Bytes>) -> anyhow::Result<()> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let fields: Vec<(&str, &str)> =
            request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let body = SignableBody::UnsignedPayload;
        let signable =
            SignableRequest::new(request.method().as_str(), request.uri().to_string(), fields.into_iter(), body)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}
