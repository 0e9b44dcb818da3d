//! Tests.

pub mod soda;
