//! Passes on what an attempt tells, and tells it to somebody at the desk as well.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::capability::{LogLevel, Measure, Observe};
use crate::coordinator::Perform;
use crate::coordinator::perform::{Attempt, Finding};
use crate::model::{Failure, Json, Success};

/// What an attempt says while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A line.
    Log(LogLevel, String),
    /// How far it has come.
    Progress(Vec<Measure>, Option<String>),
}

/// Somebody at the desk.
pub type Listener = Arc<dyn Fn(Said) + Send + Sync>;

/// Passes on and tells.
pub struct Tee {
    observer: Arc<dyn Observe>,
    tell: Listener,
}

impl Tee {
    /// Passes on to `observer` and tells `tell`.
    pub fn new(observer: Arc<dyn Observe>, tell: Listener) -> Self {
        Self { observer, tell }
    }
}

/// A level's word.
pub fn named(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

impl Observe for Tee {
    fn log(&self, level: LogLevel, message: String) {
        (self.tell)(Said::Log(level, message.clone()));
        self.observer.log(level, message);
    }

    fn progress(&self, measures: Vec<Measure>, note: Option<String>) {
        (self.tell)(Said::Progress(measures.clone(), note.clone()));
        self.observer.progress(measures, note);
    }

    fn checkpoint(&self, value: Json) -> BoxFuture<'static, Result<(), String>> {
        self.observer.checkpoint(value)
    }

    fn secret_revealed(&self, secret: String) -> BoxFuture<'static, Result<(), String>> {
        self.observer.secret_revealed(secret)
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}

/// What happens to a call, as somebody at the desk hears of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Called {
    /// It begins.
    Begins(u32),
    /// It says something.
    Says(Said),
    /// It ends.
    Ended(Result<(), Failure>),
}

/// Takes what a callee did.
pub type Tell = dyn Fn(&str, Called) + Send + Sync;

/// Performs calls by somebody else, and tells of each by its callee.
pub struct Telling {
    /// Who performs.
    pub perform: Arc<dyn Perform>,
    /// Who is told.
    pub tell: Arc<Tell>,
}

impl Perform for Telling {
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        let (tell, callee, number) = (self.tell.clone(), attempt.call.callee.to_string(), attempt.call.attempt);
        let (says, who) = (tell.clone(), callee.clone());
        let tee = Tee::new(observer, Arc::new(move |said| says(&who, Called::Says(said))));
        let call = self.perform.run(attempt, Arc::new(tee));
        Box::pin(async move {
            tell(&callee, Called::Begins(number));
            let result = call.await;
            tell(&callee, Called::Ended(result.as_ref().map(drop).map_err(Clone::clone)));
            result
        })
    }

    fn probe(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        self.perform.probe(attempt, observer)
    }
}
