//! A double of the SODA block API (hotpot, `/v1beta/{tenant}/…`): the same paths, bodies, states, refusals and error
//! texts, with every delay and fault in the hands of the test.
//!
//! It has volumes (resize too), attachments, snapshots, hosts, profiles, one pool and one availability zone. It keeps no
//! token service: one fixed token is right. It serves over HTTP, or answers in the test's own process.

mod fault;
pub mod native;
mod rules;
mod serve;
mod world;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use fault::{Fault, Trouble};
use world::{Answer, Asked, World};
pub use world::{Change, Conduct, Made, Pace};

/// The tenant of the base URL.
pub const TENANT: &str = "e93b4c0934da416eb9c8d120c5d04d96";

/// The header that carries the token.
pub const TOKEN_HEADER: &str = "X-Auth-Token";

/// The one token that is right.
pub const TOKEN: &str = "soda-token";

/// How long a change takes in most tests with [`Pace::After`]: long enough to be seen, short enough to wait for.
pub const MOMENT: Duration = Duration::from_millis(20);

/// A running double. Dropping it stops it.
pub struct Soda {
    /// The base URL for a connection: with `/v1beta/{tenant}`, without a slash at the end.
    pub url: String,
    shared: Arc<Mutex<Shared>>,
    server: Option<JoinHandle<()>>,
}

struct Shared {
    world: World,
    requests: Vec<Seen>,
    faults: Vec<Fault>,
    spelling: Spelling,
}

/// How the keys of answers are spelled: releases differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spelling {
    /// As most releases do: `camelCase`, except for `AttachStatus`.
    #[default]
    Released,
    /// `attachStatus` too.
    Camel,
    /// `Id`, `CreatedAt`, `AttachStatus`, …
    Capital,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`, …
    pub method: String,
    /// Below the base URL: `/block/volumes`, …
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// With names in lower case.
    pub headers: Vec<(String, String)>,
    /// JSON, or null when there was none.
    pub body: Value,
}

impl Seen {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What comes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// An answer; the body may be empty.
    Answered {
        /// The status.
        status: u16,
        /// JSON, unless it was garbled.
        body: Vec<u8>,
    },
    /// There is none, ever.
    Hung,
    /// The connection broke.
    Broken,
    /// Nothing was sent.
    Refused,
}

impl Soda {
    /// Starts one whose states advance at the second look at a resource.
    pub async fn start() -> Self {
        Self::start_with(Pace::Looks(2)).await
    }

    /// Starts one with another pace, on a free port.
    pub async fn start_with(pace: Pace) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let mut soda = Self::in_process(pace);
        soda.url = format!("http://{address}/v1beta/{TENANT}");
        soda.server = Some(serve::start(listener, soda.shared.clone()));
        soda
    }

    /// One without a port, for [`Soda::exchange`].
    pub fn in_process(pace: Pace) -> Self {
        let world = World::new(pace);
        let spelling = Spelling::default();
        let shared = Shared { world, requests: Vec::new(), faults: Vec::new(), spelling };
        let url = format!("https://storage.invalid/v1beta/{TENANT}");
        Self { url, shared: Arc::new(Mutex::new(shared)), server: None }
    }

    /// Answers a request below the base URL, as the server would that is asked with the right token.
    pub fn exchange(&self, method: &str, target: &str, body: &[u8]) -> Exchange {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = vec![(TOKEN_HEADER.to_ascii_lowercase(), TOKEN.to_owned())];
        self.lock().exchange(method, &format!("/v1beta/{TENANT}{path}"), query, headers, body)
    }

    /// Registers a host in these availability zones and gives its identifier.
    pub fn host(&self, zones: &[&str]) -> String {
        let id = uuid::Uuid::now_v7().to_string();
        self.host_of(&id, zones);
        id
    }

    /// Registers a host of this identifier in these zones.
    pub fn host_of(&self, id: &str, zones: &[&str]) {
        self.lock().world.add_host(id, zones);
    }

    /// Makes a profile known, by an identifier that is its name too.
    pub fn profile(&self, id: &str) {
        self.lock().world.add_profile(id);
    }

    /// Makes an available snapshot of this size in GB known, of a volume that is gone.
    pub fn snapshot(&self, id: &str, size: u64) {
        self.lock().world.add_snapshot(id, size);
    }

    /// Says how the next change of this kind behaves; several calls queue up.
    pub fn next(&self, change: Change, conduct: Conduct) {
        self.lock().world.next(change, conduct);
    }

    /// Arranges for trouble.
    pub fn fault(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Spells the keys of answers like another release.
    pub fn spell(&self, spelling: Spelling) {
        self.lock().spelling = spelling;
    }

    /// Ends every change under way, whatever the pace; what is stuck stays stuck.
    pub fn advance(&self) {
        self.lock().world.advance();
    }

    /// The requests that arrived, in order.
    pub fn requests(&self) -> Vec<Seen> {
        self.lock().requests.clone()
    }

    /// The requests of this method to a path that begins like this.
    pub fn requests_to(&self, method: &str, path: &str) -> Vec<Seen> {
        let fits = |seen: &Seen| seen.method == method && seen.path.starts_with(path);
        self.requests().into_iter().filter(fits).collect()
    }

    /// The volumes that exist now.
    pub fn volumes(&self) -> Vec<Value> {
        self.lock().world.volumes_shown()
    }

    /// The attachments that exist now.
    pub fn attachments(&self) -> Vec<Value> {
        self.lock().world.attachments_shown()
    }

    /// The snapshots that exist now.
    pub fn snapshots(&self) -> Vec<Value> {
        self.lock().world.snapshots_shown()
    }

    /// How many things were ever made.
    pub fn made(&self) -> Made {
        self.lock().world.made
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Soda {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nothing panics while it holds the double's state")
}

impl Shared {
    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        headers: Vec<(String, String)>,
        body: &[u8],
    ) -> Exchange {
        match read(method, path, query, headers, body) {
            Ok(seen) => self.handle(seen),
            Err(message) => Exchange::answered(Answer::fault(400, &message)),
        }
    }

    fn handle(&mut self, seen: Seen) -> Exchange {
        let asked = Asked { method: &seen.method, path: &seen.path, query: &seen.query, body: &seen.body };
        let struck = self.faults.iter_mut().filter_map(|fault| fault.strikes(&asked).then(|| fault.clone())).last();
        let mut answer = match &struck {
            Some(fault) if !fault.after_effect => Answer::fault(500, "never sent"),
            _ if seen.header(TOKEN_HEADER) != Some(TOKEN) => {
                Answer::fault(401, "The request you have made requires authentication.")
            }
            _ => self.world.answer(&asked),
        };
        self.requests.push(seen);
        answer.body = answer.body.map(|body| self.spelling.spell(body));
        match struck.map(|fault| fault.kind) {
            None => Exchange::answered(answer),
            Some(Trouble::Status(status)) => Exchange::answered(Answer::fault(status, "the service is in trouble")),
            Some(Trouble::Garbled) => Exchange::Answered { status: 200, body: b"<html>welcome</html>".to_vec() },
            Some(Trouble::Empty) => Exchange::Answered { status: 200, body: b"[]".to_vec() },
            Some(Trouble::Hang) => Exchange::Hung,
            Some(Trouble::Drop) => Exchange::Broken,
            Some(Trouble::Refuse) => Exchange::Refused,
        }
    }
}

impl Exchange {
    fn answered(answer: Answer) -> Self {
        let body = answer.body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        Self::Answered { status: answer.status, body }
    }
}

impl Spelling {
    fn spell(self, body: Value) -> Value {
        match body {
            Value::Array(items) => items.into_iter().map(|item| self.spell(item)).collect(),
            Value::Object(members) => members.into_iter().map(|(key, value)| (self.key(&key), value)).collect(),
            other => other,
        }
    }

    fn key(self, key: &str) -> String {
        let first = |change: fn(&str) -> String| format!("{}{}", change(&key[..1]), &key[1..]);
        match self {
            Self::Released => key.to_owned(),
            Self::Camel => first(str::to_ascii_lowercase),
            Self::Capital => first(str::to_ascii_uppercase),
        }
    }
}

fn read(method: &str, path: &str, query: &str, headers: Vec<(String, String)>, body: &[u8]) -> Result<Seen, String> {
    let prefix = format!("/v1beta/{TENANT}");
    let Some(path) = path.strip_prefix(&prefix) else { return Err(format!("no such path: {path}")) };
    let body = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(body).map_err(|e| format!("parse the request body failed: {e}"))?,
    };
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Ok(Seen { method: method.to_owned(), path: path.to_owned(), query, headers, body })
}
