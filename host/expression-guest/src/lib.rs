//! jq inside the sandbox: compiles programs with jaq and runs them on JSON text. It is untrusted by design: it bounds
//! neither time nor memory nor stack, because the host that embeds it does.

pub mod program;

mod base32;
mod dates;
mod natives;
mod regex;
mod value;

#[cfg(target_arch = "wasm32")]
mod component;
