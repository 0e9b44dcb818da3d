//! One file per host capability.
