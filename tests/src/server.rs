//! The server as a child process on a data directory: start, kill, start again. It is ended when its guard is dropped,
//! however that happens.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::binaries::Binaries;

/// Far more than any start takes, even with a cold cache on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How long a server may take to stop when asked; then it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its arguments, beside those for its data and the file that tells its address.
    pub arguments: Vec<String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// A shell line that `exec`s `"$@"`, for what must be so before the program begins.
    pub shell: Option<String>,
    /// What the shell line finds as its standard input.
    pub input: Option<Arc<OwnedFd>>,
}

impl Default for Launch {
    /// At any free port of this machine.
    fn default() -> Self {
        let arguments = ["--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
        Self { arguments, environment: Vec::new(), shell: None, input: None }
    }
}

impl Launch {
    /// With exactly these arguments.
    pub fn with(arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(), ..Self::default() }
    }

    fn command(&self, binaries: &Binaries) -> anyhow::Result<Command> {
        let mut command = match &self.shell {
            Some(_) => Command::new("sh"),
            None => Command::new(binaries.orchestrator()),
        };
        if let Some(line) = &self.shell {
            command.args(["-c", line, "sh"]).arg(binaries.orchestrator());
        }
        let input = self.input.as_ref().map(|input| input.try_clone()).transpose()?;
        command.stdin(input.map_or_else(Stdio::null, Stdio::from));
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// A running server.
pub struct Server {
    binaries: Binaries,
    directory: PathBuf,
    launch: Launch,
    child: Child,
    /// Its base URL; another one after each start.
    pub url: String,
    /// How long the last start took.
    pub ready_after: Duration,
}

impl Server {
    /// Starts a server on `directory`, which keeps its data, its log and the file that tells its address.
    ///
    /// # Errors
    /// When it ends before it is ready; the text has the end of its log.
    pub async fn start(binaries: &Binaries, directory: &Path) -> anyhow::Result<Self> {
        Self::launch(binaries, directory, Launch::default()).await
    }

    /// Starts a server in a way of its own; again in the same way by [`Server::start_again`].
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn launch(binaries: &Binaries, directory: &Path, launch: Launch) -> anyhow::Result<Self> {
        let warm = binaries.warm_data();
        if let Some(warm) = &warm {
            copy_cache(warm, &directory.join("data"))?;
        }
        let (child, url, ready_after) = spawn(binaries, directory, &launch).await?;
        if let Some(warm) = &warm {
            keep_cache(&directory.join("data"), warm)?;
        }
        let (binaries, directory) = (binaries.clone(), directory.to_owned());
        Ok(Self { binaries, directory, launch, child, url, ready_after })
    }

    /// Ends the process at once, as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again on the same data, after [`Server::kill`] or [`Server::stop`].
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        (self.child, self.url, self.ready_after) = spawn(&self.binaries, &self.directory, &self.launch).await?;
        Ok(())
    }

    /// Sends a signal, `HUP`.
    ///
    /// # Errors
    /// When there is no such signal.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill -{name}: {status}");
        Ok(())
    }

    /// Asks the process to end (SIGTERM), and kills it when it takes too long. Whether it ended by itself.
    pub async fn stop(&mut self) -> bool {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let start = Instant::now();
        while asked.is_ok() && start.elapsed() < STOP_WITHIN {
            if let Ok(Some(_)) = self.child.try_wait() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.kill();
        false
    }

    /// Waits for the process to end by itself; its exit code, and nothing where a signal ended it or it takes too long.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < STOP_WITHIN {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// Whether the process is running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process's identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets [`Server::memory_peak`] begin at what is resident now.
    ///
    /// # Errors
    /// When it is not running.
    pub fn forget_memory_peak(&self) -> anyhow::Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").context("reset the kernel's peak")
    }

    /// The most memory that the process had resident since it started, or since the peak was forgotten, bytes.
    ///
    /// # Errors
    /// When it is not running.
    pub fn memory_peak(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells no peak")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// Where its log is.
    pub fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if let Some(warm) = self.binaries.warm_data() {
            // Without it the next test only takes longer.
            let _ = add_to_cache(&self.directory.join("data"), &warm);
        }
    }
}

/// What makes a start warm: compiled components, and the key that vouches for them.
const CACHE: [&str; 2] = ["key", "cache"];

/// Gives a new data directory the cache that an earlier server of these tests filled: compiling the evaluator of
/// expressions takes an unoptimised server many seconds.
fn copy_cache(warm: &Path, data: &Path) -> anyhow::Result<()> {
    if !warm.exists() || data.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(data)?;
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700))?;
    CACHE.iter().try_for_each(|name| copy(&warm.join(name), &data.join(name)))
}

/// Keeps a server's cache for those to come; the first one wins.
fn keep_cache(data: &Path, warm: &Path) -> anyhow::Result<()> {
    if warm.exists() {
        return Ok(());
    }
    let parent = warm.parent().context("the warm data lies in a folder")?;
    let copied = tempfile::tempdir_in(parent)?;
    CACHE.iter().try_for_each(|name| copy(&data.join(name), &copied.path().join(name)))?;
    // Somebody else may have been faster, which is as good.
    let _ = std::fs::rename(copied.path(), warm);
    Ok(())
}

/// Compiled components that are kept for servers to come: those of all packs and fixtures, of a few builds.
const KEPT_MAX: usize = 60;

/// Adds what a server compiled: its packs' components, which an unoptimised server compiles for many seconds.
fn add_to_cache(data: &Path, warm: &Path) -> anyhow::Result<()> {
    let key = |folder: &Path| std::fs::read(folder.join("key"));
    // One that started before there was a warm cache has a key of its own, by which nobody else can read its files.
    if key(data)? != key(warm)? {
        return Ok(());
    }
    for entry in std::fs::read_dir(data.join("cache"))? {
        let entry = entry?;
        // The same content has the same name; another test may have been faster.
        let _ = std::fs::hard_link(entry.path(), warm.join("cache").join(entry.file_name()));
    }
    forget_oldest(&warm.join("cache"))
}

fn forget_oldest(cache: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(cache)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let surplus = files.len().saturating_sub(KEPT_MAX);
    files.iter().take(surplus).try_for_each(|(_, path)| std::fs::remove_file(path))?;
    Ok(())
}

/// Copies a file or a folder with everything in it, or links it: files of the cache are replaced and never changed.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if !from.is_dir() {
        if from.extension().is_some_and(|extension| extension == "cwasm") && std::fs::hard_link(from, to).is_ok() {
            return Ok(());
        }
        return std::fs::copy(from, to).map(drop).with_context(|| format!("copy {}", from.display()));
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A server that is not ready yet; ended when whoever waits for it gives up.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn spawn(binaries: &Binaries, directory: &Path, launch: &Launch) -> anyhow::Result<(Child, String, Duration)> {
    let ready = directory.join("ready");
    // There is none at the first start.
    let _ = std::fs::remove_file(&ready);
    let log = File::options().create(true).append(true).open(directory.join("server.log"))?;
    let start = Instant::now();
    let child = launch
        .command(binaries)?
        .arg("--data")
        .arg(directory.join("data"))
        .arg("--ready-file")
        .arg(&ready)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", binaries.orchestrator().display()))?;
    let mut child = Starting(Some(child));
    loop {
        if let Ok(url) = std::fs::read_to_string(&ready)
            && url.contains(':')
        {
            let child = child.0.take().expect("taken only here");
            return Ok((child, url.trim().trim_end_matches('/').to_owned(), start.elapsed()));
        }
        let ended = child.0.as_mut().and_then(|child| child.try_wait().transpose()).transpose()?;
        if ended.is_some() || start.elapsed() > READY_WITHIN {
            let log = std::fs::read_to_string(directory.join("server.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            bail!("the server is not ready after {:?} ({ended:?}):\n{}", start.elapsed(), tail.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
