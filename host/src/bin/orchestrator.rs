//! The server: arguments in, library call out.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use orchestrator_host::config::sections::general::General;
use orchestrator_host::config::{self, Config, ConfigError, Invocation, LogFormat, Task};
use orchestrator_host::server;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code where the settings are wrong: to start again will not help.
const WRONG_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orchestrator: cannot {error:#}");
            if error.is::<ConfigError>() { ExitCode::from(WRONG_SETTINGS) } else { ExitCode::FAILURE }
        }
    }
}

fn start() -> anyhow::Result<()> {
    let invocation = Invocation::read(&config::command().get_matches(), std::env::vars_os())?;
    let config = Config::resolve(&invocation.sources)?;
    log_to_stderr(&config.general)?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    match invocation.task {
        Task::ResetAdminToken => Ok(runtime.block_on(server::reset_admin_token(&config))?),
        _ => runtime.block_on(serve(config)),
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let listen = config.listening.addresses(false)[0];
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    let shutdown = asked_to_stop()?;
    server::run(config, listener, shutdown, announce).await?;
    Ok(())
}

fn announce(url: &str) {
    // Whoever closed our output does not want to know.
    let _ = writeln!(io::stdout(), "orchestrator {} answers on {url}", env!("CARGO_PKG_VERSION"));
}

/// Ends at the first SIGTERM or SIGINT; a second one ends the process at once, as after a crash.
fn asked_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut either = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        either().await;
        tokio::spawn(async move {
            either().await;
            tracing::warn!("asked to stop a second time; ending at once");
            std::process::exit(130);
        });
    })
}

fn log_to_stderr(general: &General) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&general.log).context("understand `log`: write for example `info` or `debug`")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match general.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
