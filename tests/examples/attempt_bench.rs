//! What one attempt costs: a no-op action through `Sandbox::attempt`, against bare wasmtime instantiating and calling the
//! same component in the same process with the same engine. Run with `cargo run --release -p orchestrator-tests --example
//! attempt_bench`. The two are measured in turns, so that a busy machine disturbs both alike.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use orchestrator_host::capability::{Granted, LogLevel, Measure, Observe};
use orchestrator_host::model::{ActionName, Digest, Json, PackName};
use orchestrator_host::sandbox::{Component, Invocation, Phase, Sandbox, SandboxConfig};
use orchestrator_tests::guests;
use wasmtime::Store;
use wasmtime::component::Linker;

mod bindings {
    wasmtime::component::bindgen!({
        world: "orchestrator:pack/action@0.1.0",
        path: "../wit",
        exports: { default: async },
    });
}

use bindings::ActionPre;
use bindings::exports::orchestrator::action::handler;

/// Calls in one turn.
const CALLS: u32 = 2000;
/// Turns of each kind; the median is told.
const TURNS: usize = 25;

struct Silent;

impl Observe for Silent {
    fn log(&self, _: LogLevel, _: String) {}
    fn progress(&self, _: Vec<Measure>, _: Option<String>) {}
    fn checkpoint(&self, _: Json) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn secret_revealed(&self, _: String) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn cancelled(&self) -> bool {
        false
    }
}

#[tokio::main]
async fn main() -> wasmtime::Result<()> {
    let directory = tempfile::tempdir()?;
    let sandbox = Sandbox::new(SandboxConfig {
        cache_dir: directory.path().to_owned(),
        cache_key: [1; 32],
        memory_bytes_max: SandboxConfig::MEMORY_BYTES_MAX,
        attempts_max: 64,
    })?;
    let bytes = guests::component();
    let component = sandbox.load(Digest::of(bytes), bytes).await?;
    let raw = sandbox.compile(Digest::of(bytes), bytes)?;
    let mut linker = Linker::<()>::new(sandbox.engine());
    linker.define_unknown_imports_as_traps(&raw)?;
    let bare = ActionPre::new(linker.instantiate_pre(&raw)?)?;
    let (mut bare_times, mut attempt_times) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        bare_times.push(time_bare(&sandbox, &bare).await?);
        attempt_times.push(time_attempts(&sandbox, &component).await?);
    }
    let (bare, attempt) = (median(bare_times), median(attempt_times));
    println!("bare wasmtime  {:8.2} us a call (fresh store, instantiate, call, drop)", micros(bare));
    println!("one attempt    {:8.2} us a call (Sandbox::attempt)", micros(attempt));
    println!("ratio          {:8.2}", attempt.as_secs_f64() / bare.as_secs_f64());
    Ok(())
}

async fn time_bare(sandbox: &Sandbox, action: &ActionPre<()>) -> wasmtime::Result<Duration> {
    let invocation = handler::Invocation {
        action: "answers".to_owned(),
        phase: handler::Phase::Run("1".to_owned()),
        instance: "0192f0c1-2345-7abc-8def-0123456789ab".to_owned(),
        task: "/do/0/call".to_owned(),
        idempotency_key: "key-1".to_owned(),
        attempt: 1,
        timeout_ms: 30_000,
        checkpoint: None,
    };
    let start = Instant::now();
    for _ in 0..CALLS {
        let mut store = Store::new(sandbox.engine(), ());
        store.set_epoch_deadline(u64::MAX / 2);
        let action = action.instantiate_async(&mut store).await?;
        let reply = action.orchestrator_action_handler().call_run(&mut store, &invocation).await?;
        assert!(black_box(reply).is_ok(), "the guest answers");
    }
    Ok(start.elapsed() / CALLS)
}

async fn time_attempts(sandbox: &Sandbox, component: &Component) -> wasmtime::Result<Duration> {
    let observer: Arc<dyn Observe> = Arc::new(Silent);
    let action = ActionName::parse("answers")?;
    let granted = Granted::nothing(PackName::parse("guests")?, action.clone());
    let invocation = Invocation {
        action,
        phase: Phase::Run(serde_json::json!(1)),
        instance: "0192f0c1-2345-7abc-8def-0123456789ab".to_owned(),
        task: "/do/0/call".to_owned(),
        idempotency_key: "key-1".to_owned(),
        attempt: 1,
        timeout: Duration::from_secs(30),
        checkpoint: None,
    };
    let start = Instant::now();
    for _ in 0..CALLS {
        let reply = sandbox.attempt(component, invocation.clone(), granted.clone(), observer.clone()).await;
        assert!(black_box(reply).is_ok(), "the guest answers");
    }
    Ok(start.elapsed() / CALLS)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
