//! The pure heart: records, the state they fold into, and the decision what comes next. Never async; it reads no clock
//! and draws no randomness: both arrive in [`Moment`].

pub mod apply;
pub mod command;
mod lanes;
mod listening;
use crate::definition::duration;
pub mod next;
pub mod record;
mod reopening;
pub mod state;
mod suspension;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod values;

/// The outside facts a decision may use; they end up in records, so that a fold never needs them again.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time now.
    pub now: jiff::Timestamp,
    /// A uniform number in [0, 1), for jitter.
    pub chance: f64,
}
