//! Log lines of an attempt: those of `log.write`, of the guest's standard output and of its standard error share one
//! budget. What is over it is counted and dropped, and the count is the last line.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use zeroize::Zeroizing;

use super::wit::orchestrator::log::log;
use super::{Guest, LogLevel, Observe};

/// All lines of one attempt, bytes (WIT `orchestrator:log`).
const VOLUME_BYTES_MAX: usize = 1 << 20;

/// What a line costs beside its text, bytes, so that empty lines are not free.
const LINE_COST_BYTES: usize = 32;

/// A longer line is cut, bytes; also the largest part of a line of standard output that is kept waiting for its end.
const LINE_BYTES_MAX: usize = 16 << 10;

/// What a guest may write to standard output at once, bytes; wasmtime's own streams allow the same order.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Shorter secrets are not looked for in lines: they would blot out ordinary words.
const MASKED_BYTES_MIN: usize = 6;

/// The log of one attempt; a cheap handle.
#[derive(Clone)]
pub(crate) struct AttemptLog(Arc<Shared>);

struct Shared {
    observer: Arc<dyn Observe>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    dropped: u64,
    revealed: Vec<Zeroizing<String>>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Which standard stream.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Out,
    Error,
}

impl AttemptLog {
    pub(crate) fn new(observer: Arc<dyn Observe>) -> Self {
        Self(Arc::new(Shared { observer, state: Mutex::default() }))
    }

    /// Writes one line, or counts it where the budget is used up.
    pub(crate) fn write(&self, level: LogLevel, text: &str) {
        let line = self.state().admit(text);
        if let Some(line) = line {
            self.0.observer.log(level, line);
        }
    }

    /// Hides this secret in the lines to come, where a guest that may read it writes it by mistake.
    pub(crate) fn hide(&self, secret: &[u8]) {
        if let Ok(text) = std::str::from_utf8(secret)
            && text.trim().len() >= MASKED_BYTES_MIN
        {
            self.state().revealed.push(Zeroizing::new(text.trim().to_owned()));
        }
    }

    /// Writes what is left of the standard streams, and the count of what was dropped.
    pub(crate) fn finish(&self) {
        let (out, error) = {
            let mut state = self.state();
            (std::mem::take(&mut state.stdout), std::mem::take(&mut state.stderr))
        };
        for (level, rest) in [(LogLevel::Info, out), (LogLevel::Warn, error)] {
            if !rest.is_empty() {
                self.write(level, &String::from_utf8_lossy(&rest));
            }
        }
        let dropped = std::mem::take(&mut self.state().dropped);
        if dropped > 0 {
            let text = format!("{dropped} bytes of the log were dropped: an attempt may write {VOLUME_BYTES_MAX}");
            self.0.observer.log(LogLevel::Warn, text);
        }
    }

    fn stream(&self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = {
                let mut state = self.state();
                let waiting = match stream {
                    Stream::Out => &mut state.stdout,
                    Stream::Error => &mut state.stderr,
                };
                waiting.extend_from_slice(piece);
                let complete = piece.ends_with(b"\n") || waiting.len() >= LINE_BYTES_MAX;
                complete.then(|| std::mem::take(waiting))
            };
            if let Some(line) = line {
                let level = match stream {
                    Stream::Out => LogLevel::Info,
                    Stream::Error => LogLevel::Warn,
                };
                self.write(level, String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn admit(&mut self, text: &str) -> Option<String> {
        let cost = text.len().min(LINE_BYTES_MAX) + LINE_COST_BYTES;
        if self.used + cost > VOLUME_BYTES_MAX {
            self.dropped += text.len() as u64;
            return None;
        }
        self.used += cost;
        let mut line = printable(text);
        for secret in &self.revealed {
            if line.contains(secret.as_str()) {
                line = line.replace(secret.as_str(), "***");
            }
        }
        Some(line)
    }
}

/// Cuts a line and takes out control characters: lines end up in terminals.
fn printable(text: &str) -> String {
    let text = match text.len() > LINE_BYTES_MAX {
        true => &text[..text.floor_char_boundary(LINE_BYTES_MAX)],
        false => text,
    };
    match text.contains(is_unprintable) {
        true => text.chars().map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect(),
        false => text.to_owned(),
    }
}

fn is_unprintable(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.log.write(level, &message);
        Ok(())
    }
}

/// A standard stream of the guest that ends in the attempt's log, line by line.
pub(crate) struct Stdio {
    log: AttemptLog,
    stream: Stream,
}

impl Stdio {
    pub(crate) fn new(log: AttemptLog, stream: Stream) -> Self {
        Self { log, stream }
    }
}

impl IsTerminal for Stdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdio {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink()) // Only WASI 0.3 asks for this one; it is not linked.
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self { log: self.log.clone(), stream: self.stream })
    }
}

impl OutputStream for Stdio {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.stream(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stdio {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::recorded::Recorded;

    fn check(act: impl FnOnce(&AttemptLog), expected: &[&str]) {
        let observer = Arc::new(Recorded::default());
        let log = AttemptLog::new(observer.clone());
        act(&log);
        log.finish();
        let lines: Vec<_> = observer.lines().into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn standard_output_becomes_lines_however_it_is_cut() {
        check(
            |log| {
                for piece in ["a", "b\nc", "\r\n\nd"] {
                    log.stream(Stream::Out, piece.as_bytes());
                }
                log.stream(Stream::Error, b"e");
            },
            &["ab", "c", "", "d", "e"],
        );
    }

    #[test]
    fn what_is_over_the_budget_is_counted() {
        let line = "x".repeat(LINE_BYTES_MAX - LINE_COST_BYTES);
        let fits = VOLUME_BYTES_MAX / LINE_BYTES_MAX;
        let mut expected = vec![line.as_str(); fits];
        let dropped = format!("{} bytes of the log were dropped: an attempt may write 1048576", 2 * line.len());
        expected.push(&dropped);
        check(|log| (0..fits + 2).for_each(|_| log.write(LogLevel::Info, &line)), &expected);
    }

    #[test]
    fn empty_lines_are_not_free() {
        let observer = Arc::new(Recorded::default());
        let log = AttemptLog::new(observer.clone());
        (0..100_000).for_each(|_| log.stream(Stream::Out, b"\n"));
        assert_eq!(observer.lines().len(), VOLUME_BYTES_MAX / LINE_COST_BYTES);
    }

    #[test]
    fn a_line_cannot_steer_a_terminal_and_does_not_show_a_revealed_secret() {
        check(
            |log| {
                log.hide(b"hunter2\n");
                log.write(LogLevel::Info, "\x1b[2Jlogin ann:hunter2\tok");
            },
            &["\u{fffd}[2Jlogin ann:***\tok"],
        );
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let long = "ä".repeat(LINE_BYTES_MAX);
        check(|log| log.write(LogLevel::Info, &long), &[&long[..LINE_BYTES_MAX]]);
    }
}
