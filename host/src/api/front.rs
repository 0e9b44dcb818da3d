//! What stands before all routes: the settings of the interface and what its layers share. In the order in which a request
//! passes them: `edge` (identifiers, hosts, origins, problems), authentication, [`rates`](super::rates),
//! [`replays`](super::replays), [`represent`](super::represent), the route. [`compress`](super::compress) is around all.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::response::Response;
use tokio::sync::RwLock;
use tower::ServiceExt;

use super::caller::Caller;
use super::edge::Hosts;
use super::operations::Operations;
use super::rates::{Rate, Rates};
use super::replays::Replays;

/// How the interface behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which `Host` headers are answered.
    pub hosts: Hosts,
    /// Which pages of other sites may send requests.
    pub origins: Vec<Origin>,
    /// How many requests one caller may send; absent: any number.
    pub rate: Option<Rate>,
}

/// A site whose pages may call the interface, as its `Origin` header says it; `*` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads `https://portal.example`, with a port where it is not the scheme's own, or `*`.
    ///
    /// # Errors
    /// It is neither; the text says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let cure =
            || format!("`{text}` is no origin: write scheme, host and port, such as `https://portal.example`, or `*`");
        if text == "*" {
            return Ok(Self(text.to_owned()));
        }
        let url = url::Url::parse(text).map_err(|_| cure())?;
        let origin = url.origin();
        match origin.is_tuple()
            && matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
        {
            true => Ok(Self(origin.ascii_serialization())),
            false => Err(cure()),
        }
    }

    /// Whether a request of this origin is taken.
    pub fn admits(&self, origin: &str) -> bool {
        self.0 == "*" || self.0.eq_ignore_ascii_case(origin)
    }
}

impl From<Hosts> for Settings {
    fn from(hosts: Hosts) -> Self {
        Self { hosts, origins: Vec::new(), rate: None }
    }
}

/// What the layers share.
pub struct Front {
    /// What is documented.
    pub operations: Operations,
    /// How often each caller came.
    pub rates: Option<Rates>,
    /// The answers that are kept under their keys.
    pub replays: Arc<Replays>,
    /// Held by every change of a resource; alone by those that depend on what it is now, so that nobody comes in between.
    pub changing: RwLock<()>,
    /// The routes without any layer: to read a resource for its entity tag.
    routes: Router,
}

impl Front {
    /// A front before these routes.
    pub fn new(routes: Router, operations: Operations, replays: Arc<Replays>, rate: Option<Rate>) -> Arc<Self> {
        let rates = rate.map(Rates::new);
        Arc::new(Self { operations, rates, replays, changing: RwLock::default(), routes })
    }

    /// What `GET` of a path answers the same caller.
    pub async fn read(&self, path: &Uri, caller: Option<Caller>) -> Response {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = path.path().parse().unwrap_or_default();
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        match self.routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let admits = |text: &str, origin: &str| Origin::parse(text).unwrap().admits(origin);
        assert!(admits("https://portal.example", "https://portal.example"));
        assert!(admits("https://portal.example/", "https://PORTAL.example"));
        assert!(admits("https://portal.example:443", "https://portal.example"));
        assert!(admits("http://localhost:3000", "http://localhost:3000") && admits("*", "null"));
        assert!(!admits("https://portal.example", "http://portal.example"));
        for bad in ["", "portal.example", "https://a/b", "ftp://a", "https://a?b", "file:///a", "null"] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }
}
