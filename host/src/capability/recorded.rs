//! An observer for tests that keeps what it is told.

use std::sync::Mutex;

use futures_util::future::BoxFuture;

use super::{LogLevel, Measure, Observe};
use crate::model::Json;

#[derive(Default)]
pub(crate) struct Recorded {
    lines: Mutex<Vec<(LogLevel, String)>>,
}

impl Recorded {
    pub(crate) fn lines(&self) -> Vec<(LogLevel, String)> {
        self.lines.lock().unwrap().clone()
    }
}

impl Observe for Recorded {
    fn log(&self, level: LogLevel, message: String) {
        self.lines.lock().unwrap().push((level, message));
    }
    fn progress(&self, _measures: Vec<Measure>, _note: Option<String>) {}
    fn checkpoint(&self, _value: Json) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn secret_revealed(&self, _secret: String) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn cancelled(&self) -> bool {
        false
    }
}
