//! Performs the calls of a case: those that the file answers, by the script; the pack's own actions in the sandbox, with
//! everything granted that the pack asks for and the script as their outside; calls of the language itself likewise.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use url::Url;

use super::bench::Bench;
use super::case::{ActionLabel, Way};
use super::mail;
use super::script::{Asked, Script};
use crate::capability::{Granted, Observe};
use crate::connection::call::{Allowed, Caller, Kind};
use crate::connection::client::{Client, SendError, StandIn};
use crate::connection::declaration::Connection;
use crate::connection::mail::{Letter, MailError, Sent};
use crate::connection::outside::Outside;
use crate::coordinator::perform::{Attempt, Finding};
use crate::coordinator::{Perform, read_yaml};
use crate::definition::graph::{ActionRef, Callee};
use crate::desk::tee::{Said, Tee, named};
use crate::journal::memory::MemoryJournal;
use crate::model::{ConnectionName, Effect, Failure, SecretName, Success};
use crate::notification::Notifications;
use crate::pack::manifest::{ConnectionKind, Uses};
use crate::sandbox::{Invocation, Phase, Reply};

tokio::task_local! {
    /// The call that a request of the language itself belongs to: its key and its instance.
    static CALL: (String, String);
}

/// Performs the calls of one case.
#[derive(Clone)]
pub(super) struct Performer {
    bench: Arc<Bench>,
    script: Arc<Script>,
    caller: Caller,
    /// The server's own notifications, of this case alone.
    notifications: Option<Arc<Notifications>>,
}

/// Somebody at the other end of one way.
struct Counterpart {
    script: Arc<Script>,
    /// The connection; absent: whatever host the URL names.
    connection: Option<ConnectionName>,
    /// Key and instance of the call; absent: those of the task that asks.
    call: Option<(String, String)>,
}

impl StandIn for Counterpart {
    fn answer(&self, request: http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Bytes>, SendError>> {
        let (key, instance) = self.call.clone().or_else(|| CALL.try_with(Clone::clone).ok()).unwrap_or_default();
        let answer = match Url::parse(&request.uri().to_string()) {
            Ok(url) => self.script.reply(&self.asked(&request, &url, key, instance)),
            Err(error) => Err(SendError::Invalid(error.to_string())),
        };
        async move {
            // Like the real outside, it never answers at once: others get their turn.
            tokio::task::yield_now().await;
            answer
        }
        .boxed()
    }

    fn mail(&self, letter: Letter) -> BoxFuture<'static, Result<Sent, MailError>> {
        let (key, instance) = self.call.clone().unwrap_or_default();
        let asked = Asked {
            way: Way::Connection(self.connection.as_ref().map(ToString::to_string).unwrap_or_default()),
            method: mail::METHOD.to_owned(),
            path: mail::PATH.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: mail::shown(&letter).to_string().into(),
            key,
            instance,
        };
        let answer = self.script.mail(&asked, &letter);
        async move {
            tokio::task::yield_now().await;
            answer
        }
        .boxed()
    }
}

impl Counterpart {
    fn asked(&self, request: &http::Request<Bytes>, url: &Url, key: String, instance: String) -> Asked {
        let way = match &self.connection {
            Some(name) => Way::Connection(name.to_string()),
            None => Way::Host(url.origin().ascii_serialization()),
        };
        let headers = request.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        Asked {
            way,
            method: request.method().to_string(),
            path: percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy().into_owned(),
            query: url.query_pairs().into_owned().collect(),
            headers: headers.collect(),
            body: request.body().clone(),
            key,
            instance,
        }
    }
}

impl Performer {
    pub(super) fn new(bench: Arc<Bench>, script: Arc<Script>) -> Self {
        let anywhere = Counterpart { script: script.clone(), connection: None, call: None };
        let outside = Outside::standing_in(Arc::new(anywhere));
        let clock = Arc::new(crate::clock::SystemClock);
        // A journal in memory is always read.
        let notifications = Notifications::open(Arc::new(MemoryJournal::new()), clock.clone()).ok();
        Self { bench, script, caller: Caller::through(outside, clock, read_yaml), notifications }
    }

    /// Who a callee is to the test file.
    fn label(&self, action: &ActionRef) -> ActionLabel {
        let other =
            (action.pack != self.bench.manifest.name).then(|| (action.pack.to_string(), action.version.to_string()));
        ActionLabel { action: action.action.to_string(), other }
    }

    fn connections(&self, uses: &Uses, call: &(String, String)) -> BTreeMap<ConnectionName, Arc<Client>> {
        let client = |name: &ConnectionName| {
            let counterpart =
                Counterpart { script: self.script.clone(), connection: Some(name.clone()), call: Some(call.clone()) };
            let kind = self.bench.manifest.connections.get(name).map(|asked| asked.kind).unwrap_or_default();
            let declaration = declaration(name, kind);
            let client =
                Client::standing_in(name.clone(), declaration, self.bench.secrets.clone(), Arc::new(counterpart));
            (name.clone(), Arc::new(client))
        };
        uses.connections.iter().map(client).collect()
    }

    async fn action(
        &self,
        action: ActionRef,
        attempt: Attempt,
        observer: Arc<dyn Observe>,
    ) -> Result<Success, Failure> {
        let label = self.label(&action);
        self.script.called(label.clone(), attempt.call.arguments.clone());
        if let Some(answer) = self.script.answer(&label, &attempt.instance.to_string()) {
            return answer;
        }
        let phase = Phase::Run(attempt.call.arguments.clone());
        match self.guest(&action, label.clone(), attempt, phase, observer).await? {
            Reply::Succeeded(success) => Ok(success),
            _ => Err(self.script.unanswerable(
                &label,
                "the component does not implement it",
                "correct `component` of the action in pack.yaml",
            )),
        }
    }

    async fn guest(
        &self,
        action: &ActionRef,
        label: ActionLabel,
        attempt: Attempt,
        phase: Phase,
        observer: Arc<dyn Observe>,
    ) -> Result<Reply, Failure> {
        if label.other.is_some() {
            let cure = format!("add `- action: {label}` with its output under `actions`");
            return Err(self.script.unanswerable(&label, "it is another pack's, and nobody answers", &cure));
        }
        let component = self.bench.component(&action.action).await;
        let component = component.map_err(|(why, cure)| self.script.unanswerable(&label, &why, &cure))?;
        let call = (attempt.call.key.clone(), attempt.instance.to_string());
        let granted = self.granted(action, &call);
        let anywhere = Counterpart { script: self.script.clone(), connection: None, call: Some(call) };
        let outside = Arc::new(Outside::standing_in(Arc::new(anywhere)));
        let script = self.script.clone();
        let tell = move |said: Said| {
            if let Said::Log(level, line) = said {
                script.log(format!("{} {label}: {line}", named(level)));
            }
        };
        let observer = Arc::new(Tee::new(observer, Arc::new(tell)));
        let invocation = invocation(action, attempt, phase);
        self.bench.tools.sandbox.attempt_through(outside, &component, invocation, granted, observer).await
    }

    fn granted(&self, action: &ActionRef, call: &(String, String)) -> Granted {
        let mut granted = Granted::nothing(action.pack.clone(), action.action.clone());
        let Some(declared) = self.bench.manifest.actions.get(&action.action) else { return granted };
        granted.connections = self.connections(&declared.uses, call);
        granted.hosts = declared.uses.hosts.clone();
        granted.secrets = itself(&declared.uses.secrets);
        granted.secret_store = Some(self.bench.secrets.clone());
        granted.inbox = self.notifications.clone().filter(|_| declared.uses.inbox);
        granted
    }

    async fn call(&self, kind: Kind, attempt: Attempt) -> Result<Success, Failure> {
        let uses = &self.bench.manifest.uses;
        let call = (attempt.call.key.clone(), attempt.instance.to_string());
        let hosts = uses.hosts.clone();
        let allowed = Allowed {
            pack: self.bench.manifest.name.clone(),
            tenant: attempt.tenant.clone(),
            connections: self.connections(uses, &call),
            hosts: Arc::new(move |url| hosts.iter().any(|pattern| pattern.matches(url)).then(|| url.clone())),
            secrets: itself(&uses.secrets),
            secret_store: Some(self.bench.secrets.clone()),
        };
        let (arguments, timeout) = (&attempt.call.arguments, attempt.call.timeout.unsigned_abs());
        CALL.scope(call, self.caller.call(kind, arguments, &allowed, &attempt.call.key, timeout)).await
    }
}

impl Perform for Performer {
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        let performer = self.clone();
        async move {
            let (key, label) = (attempt.call.key.clone(), attempt.call.callee.to_string());
            let once = performer.bench.effect(&attempt) == Effect::Once;
            if let Some(known) = performer.script.begins(&key, &label, once) {
                return known;
            }
            let result = match attempt.call.callee.clone() {
                Callee::Http => performer.call(Kind::Http, attempt).await,
                Callee::OpenApi => performer.call(Kind::OpenApi, attempt).await,
                Callee::Action(action) => performer.action(action, attempt, observer).await,
                // The coordinator runs children itself.
                Callee::Workflow { .. } => Ok(Success::default()),
            };
            performer.script.ended(&key, &result);
            result
        }
        .boxed()
    }

    fn probe(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        let performer = self.clone();
        async move {
            match performer.script.earlier(&attempt.call.key) {
                Some(Some(Ok(success))) => return Ok(Finding::Done(success)),
                Some(_) => return Ok(Finding::NotDone),
                None => {}
            }
            let Callee::Action(action) = attempt.call.callee.clone() else { return Ok(Finding::Unknown) };
            let (label, phase) = (performer.label(&action), Phase::Probe(attempt.call.arguments.clone()));
            match performer.guest(&action, label, attempt, phase, observer).await? {
                Reply::Probed(finding) => Ok(finding),
                _ => Ok(Finding::Unknown),
            }
        }
        .boxed()
    }
}

fn invocation(action: &ActionRef, attempt: Attempt, phase: Phase) -> Invocation {
    let Attempt { instance, reference, call, .. } = attempt;
    Invocation {
        action: action.action.clone(),
        phase,
        instance: instance.to_string(),
        task: reference,
        idempotency_key: call.key,
        attempt: call.attempt,
        timeout: call.timeout.unsigned_abs(),
        checkpoint: call.checkpoint,
    }
}

fn itself(names: &[SecretName]) -> BTreeMap<SecretName, SecretName> {
    names.iter().map(|name| (name.clone(), name.clone())).collect()
}

/// A connection that leads to nobody but the script; names below `.invalid` are nobody's (RFC 2606).
fn declaration(name: &ConnectionName, kind: ConnectionKind) -> Connection {
    let declaration = match kind {
        ConnectionKind::Http => json!({ "baseUrl": format!("https://{name}.invalid/") }),
        ConnectionKind::Smtp => {
            json!({ "baseUrl": format!("smtp://{name}.invalid"), "mail": { "from": format!("orchestrator@{name}.invalid") } })
        }
    };
    serde_json::from_value(declaration).expect("a connection's name is a label of a host's name")
}
