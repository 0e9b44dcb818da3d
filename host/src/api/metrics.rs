//! Figures for monitoring, in the OpenMetrics text format that Prometheus reads. Labels have few values: routes as they are
//! declared, never paths as they are asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::caller::Caller;
use super::problem::{Kind, Problem};
use super::rooms::Rooms;
use crate::coordinator::EndCounts;
use crate::door::{Figures, Visitor};
use crate::model::Permission;

/// The media type of what is answered.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a read out of memory to a request that waits for a minute, seconds.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Why somebody sees no figures.
const HIDDEN: &str = "the figures are for callers on this machine and for server admins; the setting `publicMetrics` shows \
                      them to everybody";

/// Who asks a server that does not authenticate; it may do everything, from wherever it is.
const ANONYMOUS: &str = "anonymous";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InStatus {
    status: &'static str,
}

/// What is counted while requests are answered.
#[derive(Debug, Clone)]
pub struct Metrics {
    answered: Family<Answered, Counter>,
    seconds: Family<Asked, Histogram, fn() -> Histogram>,
    under_way: Gauge,
    door: Arc<OnceLock<Arc<Figures>>>,
    public: Arc<AtomicBool>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            under_way: Gauge::default(),
            door: Arc::default(),
            public: Arc::default(),
        }
    }
}

/// A request that is under way until this is dropped: also where its client does not wait for the answer.
struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Shows what happens at the door, and to whom: everybody, or only who is on this machine or may manage the server.
    pub fn attach(&self, door: Arc<Figures>, public: bool) {
        // Attached once, by whoever opens the server.
        let _ = self.door.set(door);
        self.public.store(public, Ordering::Relaxed);
    }

    /// What happens at the door, where there is one.
    pub fn door(&self) -> Option<&Figures> {
        self.door.get().map(Arc::as_ref)
    }

    fn start(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    fn count(&self, asked: Asked, status: u16, started: Instant) {
        self.seconds.get_or_create(&asked).observe(started.elapsed().as_secs_f64());
        let Asked { method, route } = asked;
        self.answered.get_or_create(&Answered { method, route, status }).inc();
    }

    fn may_see(&self, visitor: Option<&Visitor>, caller: &Caller) -> bool {
        self.public.load(Ordering::Relaxed)
            || visitor.is_some_and(Visitor::is_local)
            || caller.0.may(Permission::ManageServer) && caller.0.subject != ANONYMOUS
    }
}

/// The layer that counts.
pub async fn measure(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let (started, under_way) = (Instant::now(), metrics.start());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let asked = Asked { method: method(request.method()), route };
    let response = next.run(request).await;
    metrics.count(asked, response.status().as_u16(), started);
    drop(under_way);
    response
}

/// The methods that are used; clients may make up any others.
fn method(method: &Method) -> &'static str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let names = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.iter().position(|known| known == method).map_or("other", |at| names[at])
}

/// Tells how the server does, for monitoring.
#[utoipa::path(get, path = "/metrics", tag = "server", responses(
    (status = 200, description = "The figures, in the OpenMetrics text format.", body = String,
     content_type = "application/openmetrics-text"),
    (status = 403, description = "`forbidden`: they are shown to callers on this machine, to server admins, and by \
                                  `publicMetrics` to everybody."),
))]
pub async fn get_metrics(
    State(rooms): State<Arc<Rooms>>,
    visitor: Option<Extension<Arc<Visitor>>>,
    caller: Caller,
) -> Result<impl IntoResponse, Problem> {
    let visitor = visitor.as_ref().map(|Extension(visitor)| visitor.as_ref());
    if !rooms.metrics.may_see(visitor, &caller) {
        return Err(Problem::new(Kind::Forbidden, HIDDEN));
    }
    let mut text = String::new();
    encode(&mut text, &registry(&rooms)).map_err(|error| Problem::internal(format!("write the metrics: {error}")))?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text))
}

/// Everything that is shown, as it is now.
fn registry(rooms: &Rooms) -> Registry {
    let mut registry = Registry::with_prefix("orchestrator");
    requests(&mut registry, &rooms.metrics);
    work(&mut registry, rooms);
    if let Some(door) = rooms.metrics.door() {
        connections(&mut registry, door);
    }
    process(&mut registry);
    registry
}

fn requests(registry: &mut Registry, metrics: &Metrics) {
    registry.register("http_requests", "Requests answered", metrics.answered.clone());
    let help = "Time until a request's answer began";
    registry.register_with_unit("http_request_duration", help, Unit::Seconds, metrics.seconds.clone());
    registry.register("http_requests_under_way", "Requests whose answer has not begun", metrics.under_way.clone());
}

fn work(registry: &mut Registry, rooms: &Rooms) {
    let counters = rooms.coordinator.counters();
    let now = Family::<InStatus, Gauge>::default();
    for (status, count) in [("live", counters.live), ("suspended", counters.suspended)] {
        now.get_or_create(&InStatus { status }).set(count as i64);
    }
    registry.register("instances", "Instances that have not ended", now);
    counter(registry, "instances_started", "Instances started", counters.started);
    registry.register("instances_ended", "Instances ended", ended(counters.ended));
    gauge(registry, "attempts_running", "Attempts that run", counters.attempts_running as u64);
    counter(registry, "journal_commits", "Batches that the store committed", counters.journal.commits);
    counter(registry, "journal_syncs", "Times the store made commits durable", counters.journal.syncs);
    gauge(registry, "followers", "Event streams that are open", rooms.followers() as u64);
}

fn ended(counts: EndCounts) -> Family<InStatus, Counter> {
    let ended = Family::<InStatus, Counter>::default();
    for (status, count) in
        [("completed", counts.completed), ("faulted", counts.faulted), ("cancelled", counts.cancelled)]
    {
        ended.get_or_create(&InStatus { status }).inc_by(count);
    }
    ended
}

fn connections(registry: &mut Registry, door: &Figures) {
    gauge(registry, "connections", "Connections that are open", door.open());
    counter(registry, "connections_accepted", "Connections accepted", door.accepted());
    counter(registry, "tls_handshakes_failed", "TLS handshakes that failed", door.handshakes_failed());
    if let Some(expires) = door.certificate_expires() {
        let help = "The end of the certificate's validity, in Unix time";
        let expires = ConstGauge::new(expires.as_second());
        registry.register_with_unit("tls_certificate_expiry_timestamp", help, Unit::Seconds, expires);
    }
}

fn process(registry: &mut Registry) {
    let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The program", version);
    if let Some(bytes) = resident_bytes() {
        let help = "Memory that the process has resident";
        registry.register_with_unit("memory_resident", help, Unit::Bytes, ConstGauge::new(bytes as i64));
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        gauge(registry, "open_files", "File descriptors in use", files.count() as u64);
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstGauge::new(value as i64));
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}
