//! The whole server: opens the rooms in order, serves, and closes them in the opposite order. What each room does is its
//! own business; here is only who gets what.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::api::edge::Hosts;
use crate::api::front::Settings;
use crate::api::gate::Gate;
use crate::api::replays::Replays;
use crate::api::rooms::Rooms;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::connection::Connections;
use crate::connection::secrets::SecretStore;
use crate::coordinator::{self, ATTEMPTS_MAX_DEFAULT, Coordinator, EventSettings, InstalledPrograms, Parts, Sandboxed};
use crate::definition::evaluate::Evaluate;
use crate::door::service_manager::ServiceManager;
use crate::door::tls::Tls;
use crate::door::{Doors, Figures, renewal};
use crate::identity::{Identity, IdentityKeys};
use crate::journal::Journal;
use crate::journal::riding::Riding;
use crate::journal::sled::SledJournal;
use crate::notification::AllNotifications;
use crate::pack::Catalog;
use crate::sandbox::expression::Expressions;
use crate::sandbox::{Sandbox, SandboxConfig};
use crate::service::Services;

/// Linear memory of one attempt, bytes. Large bodies pass it by inside the host, so that this holds JSON and code's data
/// only.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// How long the coordinator may take to stop: attempts are interrupted, so that only a store that hangs takes longer.
const STOP_SECONDS_MAX: Duration = Duration::from_secs(5);

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file or directory cannot be used.
    #[error("{doing} `{path}`")]
    Files {
        /// `make the directory`, …
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another server uses the data.
    #[error("use the data directory `{0}`: another server has it open; stop that one or give another `--data`")]
    InUse(PathBuf),
    /// A room cannot be opened.
    #[error("open {room}")]
    Room {
        /// Which.
        room: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Runs the server behind its doors until `shutdown` ends. `announce` is called once with the base URLs, when requests are
/// answered; the file `readyFile` is there by then, and is removed again at the end.
///
/// # Errors
/// The data cannot be used. Once requests are answered, there is no error any more.
pub async fn run(
    config: Config,
    doors: Doors,
    manager: ServiceManager,
    shutdown: impl Future<Output = ()>,
    announce: impl FnOnce(&[String]),
) -> Result<(), RunError> {
    let standing = Standing::of(&doors, &config);
    let stopping = CancellationToken::new();
    let (gate, opener) = Gate::new(stopping.clone());
    let serving = tokio::spawn(api::serve::serve(doors, gate, stopping.clone(), config.requests.drain.0));
    let server = Server::open(&config, stopping.clone()).await.inspect_err(|_| stopping.cancel())?;
    server.rooms.metrics.attach(standing.figures.clone(), config.listening.public_metrics);
    opener.open(api::router(server.rooms.clone(), standing.settings.clone(), server.replays.clone()));
    let ready = config.general.ready_file.as_deref().map(|file| ReadyFile::write(file, standing.url())).transpose();
    let ready = ready.inspect_err(|_| stopping.cancel())?;
    announce(&standing.urls);
    manager.ready(&format!("answers on {}", standing.urls.join(" ")));
    standing.watch(serving, &server, &manager, shutdown).await;
    drop(opener); // The interface holds the rooms.
    server.close().await;
    drop(ready);
    Ok(())
}

/// What is known of the doors once they are open.
struct Standing {
    urls: Vec<String>,
    settings: Settings,
    figures: Arc<Figures>,
    tls: Option<Arc<Tls>>,
}

impl Standing {
    fn of(doors: &Doors, config: &Config) -> Self {
        let (figures, tls) = (doors.figures.clone(), doors.tls.clone());
        let (hosts, requests) = (hosts(doors, config), &config.requests);
        let settings = Settings { hosts, origins: requests.cors_origins.clone(), rate: requests.rate_limit };
        Self { urls: doors.urls(), settings, figures, tls }
    }

    /// The first base URL.
    fn url(&self) -> &str {
        self.urls.first().map(String::as_str).unwrap_or_default()
    }

    /// Looks after everything until `shutdown` ends and the last connection is closed.
    async fn watch(
        &self,
        serving: JoinHandle<()>,
        server: &Server,
        manager: &ServiceManager,
        shutdown: impl Future<Output = ()>,
    ) {
        let stopping = &server.rooms.stopping;
        let stop = async {
            stopping.run_until_cancelled(shutdown).await;
            tracing::info!("stopping");
            manager.stopping();
            stopping.cancel();
        };
        let served = async {
            if let Err(error) = serving.await {
                tracing::error!(%error, "serving broke off");
                stopping.cancel();
            }
        };
        let alive = || server.rooms.coordinator.closed().is_none();
        let renewing = renewal::keep_current(self.tls.clone(), self.figures.clone(), &SystemClock, stopping.clone());
        tokio::join!(served, stop, renewing, manager.keep_alive(alive, &SystemClock, stopping.clone()));
    }
}

/// All rooms, open.
pub struct Server {
    rooms: Arc<Rooms>,
    replays: Arc<Replays>,
    /// Held until everything else is closed.
    lock: File,
}

impl Server {
    /// Opens everything in the data directory; unfinished instances go on at once.
    ///
    /// # Errors
    /// The directory or something in it cannot be used.
    pub async fn open(config: &Config, stopping: CancellationToken) -> Result<Self, RunError> {
        let data = &config.general.data;
        let lock = open_data(data)?;
        let journal: Arc<dyn Journal> = SledJournal::open(data.join("journal")).map_err(room("the journal"))?;
        let journal = Riding::over(journal);
        let secrets = SecretStore::open(journal.clone(), &data.join("key")).map_err(room("the secrets"))?;
        let identity = open_identity(config, &journal, &secrets)?;
        show_first_admin_token(&identity).await?;
        let connections = Connections::open(journal.clone(), secrets.clone()).map_err(room("the connections"))?;
        let sandbox = Sandbox::new(sandbox_config(config, &secrets)).map_err(room("the sandbox"))?;
        let evaluator: Arc<dyn Evaluate> = Expressions::new(&sandbox).map_err(room("the expressions"))?;
        let packs = data.join("packs");
        let catalog = Catalog::open(journal.clone(), &packs, sandbox.clone(), evaluator.clone());
        let catalog = catalog.map_err(room("the packs"))?;
        let notifications = AllNotifications::open(journal.clone(), Arc::new(SystemClock));
        let notifications = notifications.map_err(room("the notifications"))?;
        let caller = coordinator::caller(Arc::new(SystemClock)).map_err(io::Error::other).map_err(room("the calls"))?;
        let perform = Arc::new(Sandboxed {
            catalog: catalog.clone(),
            connections: connections.clone(),
            secrets: secrets.clone(),
            notifications: notifications.clone(),
            sandbox,
            caller,
        });
        let services = Services::new(journal.clone(), catalog.clone(), Arc::new(SystemClock));
        let replays = Replays::open(journal.clone(), Arc::new(SystemClock)).map_err(room("the kept answers"))?;
        let parts = parts(journal, &catalog, &services, perform, evaluator, config.events.settings());
        let parts = Parts { closed: identity.tenants.closed(), ..parts };
        let coordinator = Coordinator::start(parts).await.map_err(room("the instances"))?;
        let rooms = Rooms::new(catalog, services, connections, secrets, coordinator, notifications, identity, stopping);
        rooms.soda.configure(config.soda.settings());
        Ok(Self { rooms, replays, lock })
    }

    /// Stops the instances where they stand, once no request comes any more. They go on when the server is started again.
    pub async fn close(self) {
        let Self { rooms, lock, .. } = self;
        if tokio::time::timeout(STOP_SECONDS_MAX, rooms.coordinator.shutdown()).await.is_err() {
            tracing::warn!("instances did not stop in time; they are taken up at the next start like after a crash");
        }
        drop((rooms, lock)); // In this order: the data is free for another server once nobody writes it any more.
    }
}

fn open_identity(
    config: &Config,
    journal: &Arc<dyn Journal>,
    secrets: &SecretStore,
) -> Result<Arc<Identity>, RunError> {
    let keys = IdentityKeys { tokens: secrets.derive("api tokens"), audit: secrets.derive("audit log") };
    let settings = config.identity();
    let identity = Identity::open(journal.clone(), Arc::new(SystemClock), &keys, settings);
    let identity = identity.map_err(room("people and tenants"))?;
    if !identity.is_required() {
        tracing::warn!(
            authentication = "none",
            "requests are not authenticated: whoever reaches the server may do everything"
        );
    }
    Ok(identity)
}

async fn show_first_admin_token(identity: &Identity) -> Result<(), RunError> {
    let made = identity.first_admin_token().await.map_err(room("the first admin token"))?;
    if let Some(token) = made {
        show_admin_token(identity, &token);
    }
    Ok(())
}

/// Says the admin token, or where it is, on standard output; it is said nowhere else.
fn show_admin_token(identity: &Identity, token: &str) {
    let text = match identity.admin_token_file() {
        Some(file) => format!("the admin token is in `{}`", file.display()),
        None => format!("the admin token, shown this once: {token}"),
    };
    // Whoever closed our output makes another one by `orchestrator token reset-admin`.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Makes a new admin token in the data of a stopped server, in place of the one there is, and shows it.
///
/// # Errors
/// A server has the data open, or the data cannot be used.
pub async fn reset_admin_token(config: &Config) -> Result<(), RunError> {
    let data = &config.general.data;
    let lock = open_data(data)?;
    let journal: Arc<dyn Journal> = SledJournal::open(data.join("journal")).map_err(room("the journal"))?;
    let secrets = SecretStore::open(journal.clone(), &data.join("key")).map_err(room("the secrets"))?;
    let identity = open_identity(config, &journal, &secrets)?;
    let token = identity.new_admin_token().await.map_err(room("the admin token"))?;
    show_admin_token(&identity, &token);
    drop((identity, secrets, journal, lock));
    Ok(())
}

fn sandbox_config(config: &Config, secrets: &SecretStore) -> SandboxConfig {
    SandboxConfig {
        cache_dir: config.general.cache(),
        cache_key: secrets.derive("component cache"),
        memory_bytes_max: MEMORY_BYTES_MAX,
        attempts_max: ATTEMPTS_MAX_DEFAULT as u32,
    }
}

fn parts(
    journal: Arc<dyn Journal>,
    catalog: &Arc<Catalog>,
    services: &Arc<Services>,
    perform: Arc<dyn coordinator::Perform>,
    evaluator: Arc<dyn Evaluate>,
    events: EventSettings,
) -> Parts {
    Parts {
        journal,
        clock: Arc::new(SystemClock),
        programs: Arc::new(InstalledPrograms { catalog: catalog.clone(), services: services.clone() }),
        perform,
        evaluator,
        random: Box::new(rand::random),
        attempts_max: ATTEMPTS_MAX_DEFAULT,
        events,
        closed: coordinator::none_closed(),
    }
}

/// On loopback only names of this machine are answered; beyond it, the names are not known here.
fn hosts(doors: &Doors, config: &Config) -> Hosts {
    let names = config.listening.allow_hosts.iter().map(|name| name.0.clone());
    match doors.addresses().all(|address| address.ip().is_loopback()) {
        true => Hosts::LoopbackAnd(names.collect()),
        false => Hosts::Any,
    }
}

fn room<E: std::error::Error + Send + Sync + 'static>(room: &'static str) -> impl FnOnce(E) -> RunError {
    move |error| RunError::Room { room, source: Box::new(error) }
}

fn files(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Files { doing, path: path.to_owned(), source }
}

/// Makes the data directory, for this user alone, and takes it for this process.
fn open_data(data: &Path) -> Result<File, RunError> {
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(files("make the directory", data))?;
    let path = data.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(files("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(RunError::InUse(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(files("lock", &path)(error)),
    }
}

/// The file that tells others where the ready server is.
struct ReadyFile<'a>(&'a Path);

impl<'a> ReadyFile<'a> {
    /// Appears with its whole content or not at all.
    fn write(path: &'a Path, url: &str) -> Result<Self, RunError> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        std::fs::write(&unfinished, url).map_err(files("write", &unfinished))?;
        std::fs::rename(&unfinished, path).map_err(files("write", path))?;
        Ok(Self(path))
    }
}

impl Drop for ReadyFile<'_> {
    fn drop(&mut self) {
        // Somebody else may have removed it; nothing depends on it any more.
        let _ = std::fs::remove_file(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_data_directory_is_made_for_one_user_and_taken_by_one_server() {
        let temporary = tempfile::tempdir().unwrap();
        let data = temporary.path().join("a/b");
        let lock = open_data(&data).unwrap();
        assert_eq!(data.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(open_data(&data), Err(RunError::InUse(_))));
        drop(lock);
        assert!(open_data(&data).is_ok());
    }

    #[test]
    fn a_ready_file_is_whole_and_goes_with_the_server() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("ready");
        let ready = ReadyFile::write(&path, "http://127.0.0.1:1").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "http://127.0.0.1:1");
        drop(ready);
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
