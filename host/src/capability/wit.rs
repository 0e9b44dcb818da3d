//! The host's side of `wit/`, generated. Calls that wait are async: the guest's stack is set aside meanwhile and the
//! thread serves others. The world of 0.1.1 has every import of 0.1.0, so that components of either link.

wasmtime::component::bindgen!({
    world: "orchestrator:pack/action@0.1.1",
    path: "../wit",
    imports: {
        "orchestrator:http/client": async | trappable,
        "orchestrator:secrets/store": async,
        "orchestrator:progress/progress.checkpoint": async,
        "orchestrator:mail/mail": async,
        "orchestrator:notification/inbox": async,
        default: trappable,
    },
    exports: { default: async },
    with: { "orchestrator:http/client.exchange": crate::capability::http::Exchange },
});

impl orchestrator::action::types::Host for super::Guest {}
