//! Joins machine, journal, packs and sandbox: the handle, the per-instance loop, timers, recovery.

pub mod perform;
pub mod view;
