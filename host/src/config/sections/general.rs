//! Where the server keeps its state, and how it logs.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use crate::config::setting::settings;
use crate::config::value::{self, Value, shortened};

settings! {
    /// Where the server keeps its state, and how it logs.
    pub struct General titled "Data and log" {
        /// The directory that keeps all state; made with access for this user alone.
        data as "data": PathBuf,
        /// The directory of compiled components; may be lost at any time [default: DATA/cache]
        cache as "cache": Option<PathBuf>,
        /// A file that receives the base URL once the server is ready.
        ready_file as "readyFile": Option<PathBuf>,
        /// How the log on standard error is written: `text` for people, or `json`, one object a line.
        log_format as "logFormat": LogFormat = "text",
        /// What is logged: a level, or levels by module such as `info,orchestrator_host::sandbox=debug`.
        log as "log": LogFilter = "info",
    }
}

impl General {
    /// The directory of compiled components.
    pub fn cache(&self) -> PathBuf {
        self.cache.clone().unwrap_or_else(|| self.data.join("cache"))
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(pub String);

impl Value for LogFilter {
    const WORD: &'static str = "FILTER";

    fn read(texts: &[&str]) -> Result<Self, String> {
        let text = String::read(texts)?;
        match EnvFilter::try_new(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => {
                Err(format!("`{}` is no filter ({error}): write for example `info` or `debug`", shortened(&text)))
            }
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Value for LogFormat {
    const WORD: &'static str = "text|json";

    fn read(texts: &[&str]) -> Result<Self, String> {
        value::choice(texts, &[("text", Self::Text), ("json", Self::Json)])
    }
}
