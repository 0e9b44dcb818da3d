//! The server: arguments in, library call out.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use orchestrator_host::config::sections::general::General;
use orchestrator_host::config::{self, Config, ConfigError, Invocation, LogFormat, Task};
use orchestrator_host::door::Doors;
use orchestrator_host::door::service_manager::{Handed, ServiceManager};
use orchestrator_host::server;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code where the settings are wrong: to start again will not help.
const WRONG_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("orchestrator: cannot {error:#}");
            if error.is::<ConfigError>() { ExitCode::from(WRONG_SETTINGS) } else { ExitCode::FAILURE }
        }
    }
}

fn start() -> anyhow::Result<ExitCode> {
    let invocation = Invocation::read(&config::command().get_matches(), std::env::vars_os())?;
    if matches!(invocation.task, Task::Check | Task::Show | Task::Reference) {
        let (text, fine) = invocation.answer();
        // Whoever closed our output does not want to know.
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(WRONG_SETTINGS) });
    }
    let config = Config::resolve(&invocation.sources)?;
    log_to_stderr(&config.general)?;
    let handed = Handed::take().context("take the sockets that were handed over")?;
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    match invocation.task {
        Task::ResetAdminToken => runtime.block_on(server::reset_admin_token(&config))?,
        _ => runtime.block_on(serve(config, handed))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config, handed: Handed) -> anyhow::Result<()> {
    let plan = config.plan(!handed.is_empty());
    let doors = Doors::open(&plan, handed).await?;
    config.admit(doors.addresses())?;
    let (manager, shutdown) = (ServiceManager::of_environment(), asked_to_stop()?);
    server::run(config, doors, manager, shutdown, announce).await?;
    Ok(())
}

fn announce(urls: &[String]) {
    // Whoever closed our output does not want to know.
    let _ = writeln!(io::stdout(), "orchestrator {} answers on {}", env!("CARGO_PKG_VERSION"), urls.join(", "));
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
    let filter = EnvFilter::try_new(&general.log.0).context("understand `log`: write for example `info` or `debug`")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match general.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
