//! Compression of answers: zstd or gzip, as the client accepts. Answers are in memory whole, so they are compressed at one
//! go; what streams (events) is passed on as it comes.

use std::io::Write;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;

use super::problem::Problem;
use super::rooms::aside;

/// Smaller answers fit into one packet anyway.
const BYTES_MIN: u64 = 1 << 10;

/// Larger ones are compressed off the async workers: this takes about a millisecond.
const BYTES_HERE_MAX: usize = 64 << 10;

/// Larger ones are not compressed: nothing that this interface answers is.
const BYTES_MAX: u64 = 64 << 20;

/// Fast levels: an answer is made for one reader.
const ZSTD_LEVEL: i32 = 1;
const GZIP_LEVEL: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    /// The coding that is most welcome; zstd where both are.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let values: Vec<_> =
            headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
        let quality = |name: &str| {
            let listed = values.iter().flat_map(|text| text.split(',')).map(str::trim);
            let quality = |part: &str| -> Option<f32> {
                let (coding, rest) = part.split_once(';').unwrap_or((part, ""));
                let is_named = coding.trim().eq_ignore_ascii_case(name);
                is_named
                    .then(|| rest.trim().strip_prefix("q=").map_or(Some(1.0), |text| text.parse().ok()).unwrap_or(0.0))
            };
            listed.into_iter().find_map(quality).unwrap_or(0.0)
        };
        let (zstd, gzip) = (quality("zstd"), quality("gzip"));
        match () {
            () if zstd > 0.0 && zstd >= gzip => Some(Self::Zstd),
            () if gzip > 0.0 => Some(Self::Gzip),
            () => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn encode(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::stream::encode_all(bytes, ZSTD_LEVEL),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
                encoder.write_all(bytes)?;
                encoder.finish()
            }
        }
    }
}

/// The layer itself.
pub async fn compress(request: Request, next: Next) -> Response {
    let coding = Coding::accepted(request.headers());
    let is_head = request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    if !is_worth_it(&response) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    match coding {
        Some(coding) if !is_head => compressed(coding, response).await,
        _ => response,
    }
}

fn is_worth_it(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_text =
        kind.starts_with("text/") || ["json", "yaml", "javascript", "svg"].iter().any(|name| kind.contains(name));
    let fits = response.body().size_hint().exact().is_some_and(|size| (BYTES_MIN..=BYTES_MAX).contains(&size));
    is_text && fits && !response.headers().contains_key(header::CONTENT_ENCODING)
}

async fn compressed(coding: Coding, response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, BYTES_MAX as usize).await else {
        return Response::from_parts(head, Body::empty());
    };
    let Some(encoded) = encoded(coding, bytes.clone()).await.filter(|encoded| encoded.len() < bytes.len()) else {
        return Response::from_parts(head, Body::from(bytes));
    };
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    let tag = head.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()?.strip_suffix('"').map(str::to_owned));
    if let Some(tag) = tag
        && let Ok(tag) = HeaderValue::from_str(&format!("{tag}.{}\"", coding.name()))
    {
        head.headers.insert(header::ETAG, tag);
    }
    Response::from_parts(head, Body::from(encoded))
}

async fn encoded(coding: Coding, bytes: Bytes) -> Option<Vec<u8>> {
    match bytes.len() <= BYTES_HERE_MAX {
        true => coding.encode(&bytes).ok(),
        false => aside(move || coding.encode(&bytes).map_err(Problem::internal)).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn accepted(text: &'static str) -> Option<Coding> {
        Coding::accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(text))]))
    }

    #[test]
    fn the_coding_is_one_that_the_client_names() {
        let cases = [
            ("gzip", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip;q=1.0, zstd;q=0.5", Some(Coding::Gzip)),
            ("zstd;q=0, gzip;q=0", None),
            ("*", None),
            ("identity", None),
        ];
        for (text, coding) in cases {
            assert_eq!(accepted(text), coding, "{text}");
        }
        assert_eq!(Coding::accepted(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn an_answer_is_the_same_after_it_went_compressed() {
        for size in [2_000, 200_000] {
            let text = "orchestrator ".repeat(size / 13);
            let answer = || {
                let builder = Response::builder().header("content-type", "application/json").header("etag", "\"a\"");
                builder.body(Body::from(text.clone())).unwrap()
            };
            assert!(is_worth_it(&answer()));
            for coding in [Coding::Zstd, Coding::Gzip] {
                let response = compressed(coding, answer()).await;
                assert_eq!(response.headers()["etag"], format!("\"a.{}\"", coding.name()).as_str());
                let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
                assert!(bytes.len() < text.len() / 4);
                let mut decoded = String::new();
                match coding {
                    Coding::Zstd => zstd::Decoder::new(&bytes[..]).unwrap().read_to_string(&mut decoded).unwrap(),
                    Coding::Gzip => flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut decoded).unwrap(),
                };
                assert_eq!(decoded, text);
            }
        }
    }
}
