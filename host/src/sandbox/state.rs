//! What a `wasmtime::Store` holds for one attempt: the guest's capabilities, its limits, and a WASI that offers nothing.

use wasmtime::component::{HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::random::insecure_seed;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::limits::Limits;
use crate::capability::Guest;
use crate::capability::log::{Stdio, Stream};
use crate::capability::wit::Action;

/// Handles that a guest may hold at once; each costs the host memory.
const HANDLES_MAX: usize = 4096;

pub(super) struct State {
    pub(super) guest: Guest,
    pub(super) limits: Limits,
    /// Made when the guest first asks: most actions never do, and it costs as much as a short attempt.
    wasi: Option<WasiCtx>,
}

impl State {
    pub(super) fn new(mut guest: Guest, limits: Limits) -> Self {
        guest.table.set_max_capacity(HANDLES_MAX);
        Self { guest, limits, wasi: None }
    }
}

/// A table for the handles of one guest.
pub(super) fn table() -> ResourceTable {
    ResourceTable::new()
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let log = &self.guest.log;
        let ctx = self.wasi.get_or_insert_with(|| {
            // No files, environment, arguments or sockets; time and random numbers are real.
            WasiCtxBuilder::new()
                .stdout(Stdio::new(log.clone(), Stream::Out))
                .stderr(Stdio::new(log.clone(), Stream::Error))
                .allow_tcp(false)
                .allow_udp(false)
                .allow_ip_name_lookup(false)
                .build()
        });
        WasiCtxView { ctx, table: &mut self.guest.table }
    }
}

/// The seed of a guest's hash maps. It is the one thing of WASI that nearly every Rust guest asks for, so it does not
/// make the rest of it.
struct Seed;

impl HasData for Seed {
    type Data<'a> = Self;
}

impl insecure_seed::Host for Seed {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok(rand::random())
    }
}

/// Links everything an action may import.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    insecure_seed::add_to_linker::<_, Seed>(linker, |_| Seed)?;
    linker.allow_shadowing(false);
    Action::add_to_linker::<_, HasSelf<Guest>>(linker, |state| &mut state.guest)
}
