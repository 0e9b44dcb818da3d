//! The workflow orchestrator as a library. Modules stand in reading order; each may use those above it, as
//! `host/ARCHITECTURE.md` lays down.

pub mod api;
pub mod capability;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
pub mod coordinator;
pub mod definition;
pub mod desk;
pub mod door;
pub mod identity;
pub mod journal;
pub mod machine;
pub mod model;
pub mod note;
pub mod notification;
pub mod pack;
pub mod sandbox;
pub mod server;
pub mod service;
