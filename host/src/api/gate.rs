//! What answers a connection: the interface once the rooms are open, and before that only whether the server lives.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::about;
use super::problem::{Kind, Problem};
use super::serve::Peer;
use crate::door::Visitor;

/// Seconds after which a server that starts may be ready.
const RETRY_SECONDS: u32 = 1;

/// The interface, or the lack of it while the server starts.
#[derive(Debug, Clone)]
pub struct Gate {
    router: watch::Receiver<Option<Router>>,
    stopping: CancellationToken,
}

/// Opens a gate.
#[derive(Debug)]
pub struct Opener(watch::Sender<Option<Router>>);

impl Opener {
    /// Lets requests in, those that wait included.
    pub fn open(&self, router: Router) {
        self.0.send_replace(Some(router));
    }
}

impl Gate {
    /// A closed gate. Requests wait before it until it is opened, or until `stopping`.
    pub fn new(stopping: CancellationToken) -> (Self, Opener) {
        let (sender, router) = watch::channel(None);
        (Self { router, stopping }, Opener(sender))
    }

    /// Answers a request.
    pub async fn answer(mut self, request: Request) -> Response {
        let open = self.router.borrow().clone();
        let router = match open {
            Some(router) => router,
            None => match self.wait(request.uri().path()).await {
                Ok(router) => router,
                Err(response) => return response,
            },
        };
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn wait(&mut self, path: &str) -> Result<Router, Response> {
        match path {
            "/livez" => return Err(about::WELL.into_response()),
            "/readyz" => return Err(starting().render(path, "")),
            _ => {}
        }
        let open = self.router.wait_for(Option::is_some);
        match self.stopping.run_until_cancelled(open).await {
            Some(Ok(router)) => router.clone().ok_or_else(|| Problem::stopping().render(path, "")),
            // It will never be opened: what the server needed to start was not there.
            Some(Err(_)) | None => Err(Problem::stopping().render(path, "")),
        }
    }
}

fn starting() -> Problem {
    let detail = "the server is starting and takes up what was under way; try again in a second";
    Problem::new(Kind::Busy, detail).after(RETRY_SECONDS)
}

/// The gate for one connection.
#[derive(Debug, Clone)]
pub struct Entrance {
    gate: Gate,
    visitor: Arc<Visitor>,
}

impl Entrance {
    /// The gate for whoever is at the other end.
    pub fn new(gate: Gate, visitor: Visitor) -> Self {
        Self { gate, visitor: Arc::new(visitor) }
    }
}

impl hyper::service::Service<Request<Incoming>> for Entrance {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.visitor.address));
        request.extensions_mut().insert(self.visitor.clone());
        self.gate.clone().answer(request).map(Ok).boxed()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn request(path: &str) -> Request {
        Request::builder().uri(path).body(Body::empty()).unwrap()
    }

    fn router() -> Router {
        Router::new().fallback(async || StatusCode::IM_A_TEAPOT)
    }

    #[tokio::test]
    async fn a_server_that_starts_lives_and_is_not_ready() {
        let (gate, opener) = Gate::new(CancellationToken::new());
        assert_eq!(gate.clone().answer(request("/livez")).await.status(), StatusCode::OK);
        let response = gate.clone().answer(request("/readyz")).await;
        assert_eq!(
            (response.status(), response.headers().contains_key("retry-after")),
            (StatusCode::SERVICE_UNAVAILABLE, true)
        );
        opener.open(router());
        assert_eq!(gate.answer(request("/readyz")).await.status(), StatusCode::IM_A_TEAPOT);
    }

    #[tokio::test]
    async fn other_requests_wait_for_the_start() {
        let (gate, opener) = Gate::new(CancellationToken::new());
        let mut waiting = gate.answer(request("/v1/packs")).boxed();
        assert!(futures_util::poll!(&mut waiting).is_pending());
        opener.open(router());
        assert_eq!(waiting.await.status(), StatusCode::IM_A_TEAPOT);
    }

    #[tokio::test]
    async fn a_start_that_fails_lets_nobody_wait() {
        let (gate, opener) = Gate::new(CancellationToken::new());
        let waiting = gate.clone().answer(request("/v1/packs"));
        drop(opener);
        assert_eq!(waiting.await.status(), StatusCode::SERVICE_UNAVAILABLE);
        let stopping = CancellationToken::new();
        let (gate, _opener) = Gate::new(stopping.clone());
        stopping.cancel();
        assert_eq!(gate.answer(request("/v1/packs")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
