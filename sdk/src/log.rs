//! Lines for people, kept with the attempt: at most 1 MiB an attempt, what is over is counted and dropped.
//!
//! ```
//! use orchestrator_sdk::log;
//! let outside = orchestrator_sdk::testing::Outside::new();
//! log::info!("volume {} is {}", "v-1", "available");
//! assert_eq!(outside.logs(), [(log::Level::Info, "volume v-1 is available".to_owned())]);
//! ```

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author's eyes.
    Trace,
    /// For finding faults.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line.
pub fn write(level: Level, message: impl Into<String>) {
    crate::outside::log(level, message.into());
}

/// Writes a line at the level trace, formatted as by `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Trace, ::std::format!($($arguments)+)) };
}

/// Writes a line at the level debug, formatted as by `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Debug, ::std::format!($($arguments)+)) };
}

/// Writes a line at the level info, formatted as by `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Info, ::std::format!($($arguments)+)) };
}

/// Writes a line at the level warn, formatted as by `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::std::format!($($arguments)+)) };
}

/// Writes a line at the level error, formatted as by `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Error, ::std::format!($($arguments)+)) };
}

#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};
