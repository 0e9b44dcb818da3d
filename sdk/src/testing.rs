//! A stand-in for the outside world, so that `cargo test` checks an action natively: requests are answered from a queue
//! in order, and everything the action tells the host is kept for assertions.
//!
//! An [`Outside`] belongs to its thread; a test makes one, queues what it expects, calls the action and asserts. When it
//! is dropped at the end of the test, an expectation that was never used fails the test.
//!
//! Where a queue is too little, [`Outside::answer_with`] takes a function, such as one that asks a double.
//!
//! It checks neither grants nor limits: those are the host's and have their own tests.

mod telling;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::http::exchange::RawOutcome;
use crate::http::response::Raw;
use crate::http::{Parts, SendErrorKind, Transferred};
use crate::log::Level;
use crate::progress::{CheckpointError, Measure};
use crate::secrets::RevealError;
use crate::{Context, Json};

pub use crate::http::Transferred as Moved;
pub(crate) use telling::{delivered, deliveries, post, send_mail};

thread_local! {
    static OUTSIDE: RefCell<Option<Rc<RefCell<State>>>> = const { RefCell::new(None) };
}

/// The outside world of one test.
pub struct Outside {
    state: Rc<RefCell<State>>,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Outside").field("expected", &state.expected).field("requests", &state.requests).finish()
    }
}

/// Answers requests that no expectation is queued for.
type Answers = Box<dyn FnMut(&Sent) -> Reply>;

#[derive(Default)]
struct State {
    expected: VecDeque<Expected>,
    answers: Option<Answers>,
    requests: Vec<Sent>,
    logs: Vec<(Level, String)>,
    progress: Vec<Progress>,
    checkpoints: Vec<Json>,
    checkpoint_refusal: Option<CheckpointError>,
    secrets: BTreeMap<String, Vec<u8>>,
    cancelled: bool,
    telling: telling::Telling,
}

#[derive(Debug)]
struct Expected {
    method: String,
    target: Target,
    /// Of a transfer: the target of the second request.
    destination: Option<Target>,
    reply: Reply,
    moved: Option<Transferred>,
}

/// Which targets an expectation takes: a text is taken exactly, [`Target::starting_with`] by its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    text: String,
    prefix: bool,
}

impl Target {
    /// Any target that begins with this.
    pub fn starting_with(text: &str) -> Self {
        Self { text: text.to_owned(), prefix: true }
    }

    /// Any target.
    pub fn any() -> Self {
        Self::starting_with("")
    }

    fn takes(&self, target: &str) -> bool {
        if self.prefix { target.starts_with(&self.text) } else { target == self.text }
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), prefix: false }
    }
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        Self { text, prefix: false }
    }
}

/// What an expected request is answered with.
#[derive(Debug, Clone)]
pub struct Reply(Result<Raw, SendErrorKind>);

impl Reply {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self::bytes(status, Vec::new())
    }

    /// A status with a JSON body.
    pub fn json(status: u16, body: Json) -> Self {
        Self::bytes(status, body.to_string()).header("Content-Type", "application/json")
    }

    /// A status with any body.
    pub fn bytes(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self(Ok(Raw { status, headers: Vec::new(), body: body.into() }))
    }

    /// The same reply with a header; a failure has none.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok(raw) = &mut self.0 {
            raw.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// No response.
    pub fn failure(kind: SendErrorKind) -> Self {
        Self(Err(kind))
    }

    /// No response in time; the request may have taken effect.
    pub fn timeout() -> Self {
        Self::failure(SendErrorKind::Timeout("no response in time".to_owned()))
    }

    /// The connection broke after something was sent.
    pub fn interrupted() -> Self {
        Self::failure(SendErrorKind::Interrupted("the connection was closed".to_owned()))
    }

    /// Nothing was sent.
    pub fn unavailable() -> Self {
        Self::failure(SendErrorKind::Unavailable("connection refused".to_owned()))
    }

    /// Not granted.
    pub fn denied() -> Self {
        Self::failure(SendErrorKind::Denied("the connection is not granted".to_owned()))
    }
}

/// A request that the action made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The connection's name.
    pub connection: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In the order given.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// The time limit.
    pub timeout: Option<Duration>,
}

impl Sent {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When there is no body, or it is not JSON.
    pub fn json(&self) -> Json {
        let body = self.body.as_ref().unwrap_or_else(|| panic!("{} {} has no body", self.method, self.target));
        serde_json::from_slice(body).unwrap_or_else(|e| panic!("{} {} has no JSON: {e}", self.method, self.target))
    }

    /// The body as text; empty when there is none.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body.as_deref().unwrap_or_default()).into_owned()
    }
}

/// Progress that the action reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The measures.
    pub measures: Vec<Measure>,
    /// The note.
    pub note: Option<String>,
}

impl Default for Outside {
    fn default() -> Self {
        Self::new()
    }
}

impl Outside {
    /// An outside that expects nothing yet. It takes the place of an earlier one of this thread.
    pub fn new() -> Self {
        let state = Rc::<RefCell<State>>::default();
        OUTSIDE.set(Some(state.clone()));
        Self { state }
    }

    /// Expects a request after those already expected, and answers it.
    pub fn expect(&self, method: &str, target: impl Into<Target>, reply: Reply) {
        self.queue(Expected {
            method: method.to_owned(),
            target: target.into(),
            destination: None,
            reply,
            moved: None,
        });
    }

    /// Expects a transfer that moves a body, and answers its second request.
    pub fn expect_transfer(
        &self,
        source: impl Into<Target>,
        destination: impl Into<Target>,
        moved: Transferred,
        reply: Reply,
    ) {
        self.queue(Expected {
            method: "GET".to_owned(),
            target: source.into(),
            destination: Some(destination.into()),
            reply,
            moved: Some(moved),
        });
    }

    /// Expects a transfer whose first request is answered like this, so that nothing is moved.
    pub fn expect_transfer_refused(&self, source: impl Into<Target>, destination: impl Into<Target>, reply: Reply) {
        self.queue(Expected {
            method: "GET".to_owned(),
            target: source.into(),
            destination: Some(destination.into()),
            reply,
            moved: None,
        });
    }

    /// Answers every request that no expectation is queued for; transfers always need an expectation.
    pub fn answer_with(&self, answers: impl FnMut(&Sent) -> Reply + 'static) {
        self.state.borrow_mut().answers = Some(Box::new(answers));
    }

    /// Stores a secret; without this, revealing it is denied.
    pub fn secret(&self, name: &str, value: &[u8]) {
        self.state.borrow_mut().secrets.insert(name.to_owned(), value.to_vec());
    }

    /// Makes `cancelled` answer true from now on.
    pub fn cancel(&self) {
        self.state.borrow_mut().cancelled = true;
    }

    /// Refuses every checkpoint from now on.
    pub fn refuse_checkpoints(&self, error: CheckpointError) {
        self.state.borrow_mut().checkpoint_refusal = Some(error);
    }

    /// The requests made so far, in order; a transfer is two.
    pub fn requests(&self) -> Vec<Sent> {
        self.state.borrow().requests.clone()
    }

    /// The lines written so far.
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.state.borrow().logs.clone()
    }

    /// The progress reported so far.
    pub fn progress(&self) -> Vec<Progress> {
        self.state.borrow().progress.clone()
    }

    /// The checkpoints stored so far.
    pub fn checkpoints(&self) -> Vec<Json> {
        self.state.borrow().checkpoints.clone()
    }

    /// A first attempt with the key `key-1` and a minute's time.
    pub fn context(&self) -> Context {
        Call::default().context()
    }

    /// Asserts that every expected request was made; dropping an `Outside` does the same.
    ///
    /// # Panics
    /// When one was not.
    pub fn assert_done(&self) {
        let missing: Vec<_> = self.state.borrow().expected.iter().map(Expected::describe).collect();
        assert!(missing.is_empty(), "these requests were expected and never made: {}", missing.join(", "));
    }

    fn queue(&self, expected: Expected) {
        self.state.borrow_mut().expected.push_back(expected);
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_done();
        }
    }
}

impl Expected {
    fn describe(&self) -> String {
        let star = |target: &Target| if target.prefix { format!("{}*", target.text) } else { target.text.clone() };
        match &self.destination {
            None => format!("{} {}", self.method, star(&self.target)),
            Some(destination) => format!("transfer {} -> {}", star(&self.target), star(destination)),
        }
    }

    fn takes(&self, source: &Parts, destination: Option<&Parts>) -> bool {
        let second = match (&self.destination, destination) {
            (None, None) => true,
            (Some(target), Some(parts)) => target.takes(&parts.target),
            _ => false,
        };
        second && self.method == source.method && self.target.takes(&source.target)
    }
}

/// What the engine tells an action about a call, for tests that need another than [`Outside::context`].
///
/// ```
/// use orchestrator_sdk::testing::Call;
/// let ctx = Call { attempt: 2, ..Call::default() }.context();
/// assert_eq!((ctx.attempt(), ctx.idempotency_key()), (2, "key-1"));
/// ```
#[derive(Debug, Clone)]
pub struct Call {
    /// The instance; `instance-1` by default.
    pub instance: String,
    /// The task; `/do/0/task` by default.
    pub task: String,
    /// The idempotency key; `key-1` by default.
    pub idempotency_key: String,
    /// The attempt; 1 by default.
    pub attempt: u32,
    /// The attempt's time; a minute by default.
    pub timeout: Duration,
    /// The last attempt's checkpoint; none by default.
    pub checkpoint: Option<Json>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            instance: "instance-1".to_owned(),
            task: "/do/0/task".to_owned(),
            idempotency_key: "key-1".to_owned(),
            attempt: 1,
            timeout: Duration::from_secs(60),
            checkpoint: None,
        }
    }
}

impl Call {
    /// The context of this call.
    pub fn context(self) -> Context {
        Context {
            instance: self.instance,
            task: self.task,
            idempotency_key: self.idempotency_key,
            attempt: self.attempt,
            timeout: self.timeout,
            checkpoint: self.checkpoint,
            left: RefCell::default(),
        }
    }
}

/// An exchange whose end is already known.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Result<RawOutcome, SendErrorKind>);

/// Answers a request, or a transfer when there is a destination, with the expectation in front.
pub(crate) fn exchange(source: Parts, destination: Option<Parts>) -> Result<RawOutcome, SendErrorKind> {
    let asked = match &destination {
        None => format!("{} {}", source.method, source.target),
        Some(destination) => format!("transfer {} -> {}", source.target, destination.target),
    };
    let state = state();
    let expected = state.borrow_mut().expected.pop_front();
    if let Some(expected) = &expected {
        let described = expected.describe();
        assert!(expected.takes(&source, destination.as_ref()), "{asked} was not expected, but {described}");
    }
    let source = Sent::from(source);
    state.borrow_mut().requests.push(source.clone());
    let single = destination.is_none();
    state.borrow_mut().requests.extend(destination.map(Sent::from));
    if let Some(Expected { reply, moved, .. }) = expected {
        return reply.0.map(|response| RawOutcome { response, transferred: moved });
    }
    // Taken out while it runs, so that it may look at the `Outside` itself.
    let answers = state.borrow_mut().answers.take().filter(|_| single);
    let Some(mut answers) = answers else { panic!("{asked} was not expected, nor any request") };
    let reply = answers(&source);
    state.borrow_mut().answers = Some(answers);
    reply.0.map(|response| RawOutcome { response, transferred: None })
}

pub(crate) fn log(level: Level, message: String) {
    state().borrow_mut().logs.push((level, message));
}

pub(crate) fn report(measures: Vec<Measure>, note: Option<String>) {
    state().borrow_mut().progress.push(Progress { measures, note });
}

pub(crate) fn checkpoint(text: String) -> Result<(), CheckpointError> {
    let state = state();
    let mut state = state.borrow_mut();
    if let Some(error) = &state.checkpoint_refusal {
        return Err(error.clone());
    }
    state.checkpoints.push(serde_json::from_str(&text).map_err(|e| CheckpointError::Invalid(e.to_string()))?);
    Ok(())
}

pub(crate) fn cancelled() -> bool {
    state().borrow().cancelled
}

pub(crate) fn reveal(name: &str) -> Result<Vec<u8>, RevealError> {
    let denied = || RevealError::Denied(format!("secret `{name}` is not granted"));
    state().borrow().secrets.get(name).cloned().ok_or_else(denied)
}

fn state() -> Rc<RefCell<State>> {
    let state = OUTSIDE.with_borrow(Clone::clone);
    state.expect("outside of a component, `testing::Outside::new()` comes before anything that reaches for the host")
}

impl From<Parts> for Sent {
    fn from(parts: Parts) -> Self {
        Self {
            connection: parts.connection,
            method: parts.method,
            target: parts.target,
            headers: parts.headers,
            body: parts.body,
            timeout: parts.timeout,
        }
    }
}
