//! Workflow text becomes a validated, compiled [`graph::Program`]: parse (positions kept), schema, lint, compile.
//! Nothing behind this room knows the DSL. It does no I/O; functions and actions are looked up through a trait.

pub mod evaluate;
pub mod graph;
