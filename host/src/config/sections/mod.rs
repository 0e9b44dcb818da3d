//! The settings themselves, one file per section.

pub mod events;
pub mod general;
pub mod identity;
pub mod listening;
pub mod requests;
pub mod soda;
pub mod tls;
