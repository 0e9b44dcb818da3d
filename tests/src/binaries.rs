//! The programs under test and the packs they install: found or built once per process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, ensure};

/// Where the built programs lie.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
    /// Whether servers start with what earlier ones of the same build compiled.
    warm: bool,
}

impl Binaries {
    /// The programs in the profile that this program was built in, built now when their sources changed. The build lock
    /// is free while tests run, because cargo has finished building by then.
    ///
    /// # Errors
    /// When the build fails.
    pub fn built() -> anyhow::Result<Self> {
        static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
        BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
    }

    /// The programs beside this one, without building.
    ///
    /// # Errors
    /// When they are not there.
    pub fn beside() -> anyhow::Result<Self> {
        let binaries = Self { folder: profile_folder()?, warm: false };
        ensure!(
            binaries.orchestrator().exists() && binaries.orchctl().exists(),
            "there are no programs in {}: run `cargo build --workspace --bins` in the same profile",
            binaries.folder.display()
        );
        Ok(binaries)
    }

    /// Where tests keep compiled components between servers; demos and measurements start cold.
    pub(crate) fn warm_data(&self) -> Option<PathBuf> {
        self.warm.then(|| self.folder.join("warm-data"))
    }

    /// The server.
    pub fn orchestrator(&self) -> PathBuf {
        self.folder.join("orchestrator")
    }

    /// The command line.
    pub fn orchctl(&self) -> PathBuf {
        self.folder.join("orchctl")
    }

    /// Compiles the actions of a pack of this repository (`packs/<name>`) and gives its folder. Once per process.
    ///
    /// # Errors
    /// When the pack does not build.
    pub fn pack(&self, name: &str) -> anyhow::Result<PathBuf> {
        static BUILDING: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
        let folder = root().join("packs").join(name);
        let mut built = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !built.iter().any(|built| built == name) {
            self.run(&["pack", "build", &folder.to_string_lossy()])?;
            built.push(name.to_owned());
        }
        Ok(folder)
    }

    /// Runs `orchctl` and gives what it printed.
    ///
    /// # Errors
    /// When it fails; the text has what it said.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output =
            Command::new(self.orchctl()).args(arguments).current_dir(root()).output().context("run orchctl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "orchctl {}: {}\n{said}", arguments.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate stands in the workspace").to_owned()
}

/// `target/debug` or the like: tests lie one folder deeper.
fn profile_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("a program lies in a folder")?;
    let deeper = matches!(folder.file_name().and_then(|name| name.to_str()), Some("deps" | "examples"));
    let folder = if deeper { folder.parent().context("deps lies in a folder")? } else { folder };
    Ok(folder.to_owned())
}

fn is_of_package(name: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_CRATE_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
}

fn build() -> anyhow::Result<Binaries> {
    let folder = profile_folder()?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let target = folder.parent().context("a profile lies in the target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo tells this program of its package would make build scripts that read it run again, and all behind them.
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told.filter(|name| name.to_str().is_some_and(is_of_package)) {
        command.env_remove(name);
    }
    let status = command
        .args(["build", "--quiet", "--workspace", "--bins", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(root())
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the programs under test do not build");
    Ok(Binaries { folder, warm: true })
}
