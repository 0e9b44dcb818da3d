//! The settings themselves, one file per section.

pub mod events;
pub mod general;
pub mod listening;
pub mod soda;
pub mod tls;
