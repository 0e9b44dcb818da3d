//! How a pack's components are made: cargo builds each from its crate for `wasm32-wasip2`, and the result is placed where
//! `pack.yaml` says. A component of another language has a command of its own there, which is run in the pack's folder
//! and leaves the file in its place. Of what cargo builds, the same source gives the same bytes from any checkout folder: paths are remapped, and the settings
//! that decide about the output are set here and not taken from the workspace's profile.
//!
//! It runs the build tools of this machine and reads no network itself. It does not check the pack; `install` does.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cap_std::fs::{Dir, OpenOptions};
use serde_json::Value as Json;

use super::directory::{FilesError, MANIFEST, PackPath};
use super::manifest;
use crate::definition::Diagnostic;
use crate::model::{ComponentName, Digest};

/// What components are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

/// What decides about the output besides the source. Small code, because a component is compiled again on the server;
/// the names of functions, for backtraces; no positions, because they would bring the build's folders into the file.
const PROFILE: [(&str, &str); 7] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "none"),
    ("CARGO_PROFILE_RELEASE_STRIP", "debuginfo"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
];

/// A component that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its name.
    pub component: ComponentName,
    /// Where it lies in the pack.
    pub path: PackPath,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// Why a component was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The manifest has errors; all of them.
    #[error("build the pack: `pack.yaml` has errors")]
    Manifest(Vec<Diagnostic>),
    /// The pack's folder cannot be read or written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A build tool is missing or cannot be started.
    #[error("run `{tool}`; Rust's tools are at https://rustup.rs")]
    Tool {
        /// The tool.
        tool: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A build tool failed; it told why on standard error.
    #[error("{0}")]
    Failed(String),
}

/// Builds every component of the pack in `folder`. `say` is told what is done, a line each.
///
/// # Errors
/// See [`BuildError`]. Components built before the failing one stay in place.
pub fn build(folder: &Path, say: &mut dyn FnMut(&str)) -> Result<Vec<Built>, BuildError> {
    let pack = Dir::open_ambient_dir(folder, cap_std::ambient_authority())
        .map_err(FilesError::io("open the folder", folder.display().to_string()))?;
    let text = pack.read_to_string(MANIFEST).map_err(FilesError::io("read", MANIFEST))?;
    let parsed = manifest::parse(&text, MANIFEST).map_err(BuildError::Manifest)?;
    if parsed.manifest.components.is_empty() {
        return Ok(Vec::new());
    }
    let components = &parsed.manifest.components;
    let workspace = match components.values().all(|component| component.build.is_some()) {
        true => None,
        false => {
            ensure_target(folder, say)?;
            Some(Workspace::of(folder)?)
        }
    };
    let build = |(name, component): (&ComponentName, &manifest::Component)| {
        if let Some(command) = &component.build {
            say(&format!("build component `{name}` by `{command}`"));
            return by_command(folder, &pack, name, &component.path, command);
        }
        let package = component.package.as_deref().unwrap_or(name.as_str());
        say(&format!("build component `{name}` from crate `{package}`"));
        let workspace = workspace.as_ref().expect("a component without a command has a workspace");
        let artifact = workspace.build(package)?;
        place(&pack, name, &component.path, &artifact)
    };
    components.iter().map(build).collect()
}

/// Runs the author's own command in the pack's folder; it has to leave the component in its place.
fn by_command(
    folder: &Path,
    pack: &Dir,
    name: &ComponentName,
    path: &PackPath,
    command: &str,
) -> Result<Built, BuildError> {
    if let Some(parent) = path.folder() {
        pack.create_dir_all(parent).map_err(FilesError::io("make the folder", parent))?;
    }
    // What it prints is for people: standard output is left to what this program tells.
    let mut shell = Command::new("sh");
    let run = shell.args(["-c", command]).current_dir(folder).stdin(Stdio::null()).stdout(io::stderr());
    let status = run.status().map_err(|source| BuildError::Tool { tool: "sh", source })?;
    if !status.success() {
        return Err(BuildError::Failed(format!("`{command}` failed for the component `{name}`: {status}")));
    }
    let mut content = Vec::new();
    let text = format!("`{command}` left no file `{path}` for the component `{name}`; correct its output path");
    let mut file = pack.open(path.as_str()).map_err(|_| BuildError::Failed(text))?;
    file.read_to_end(&mut content).map_err(FilesError::io("read", path.as_str()))?;
    let (digest, bytes) = (Digest::of(&content), content.len() as u64);
    Ok(Built { component: name.clone(), path: path.clone(), digest, bytes })
}

/// Installs the Wasm target where rustup manages the toolchain and lacks it.
fn ensure_target(folder: &Path, say: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    let listed = Command::new("rustup").args(["target", "list", "--installed"]).current_dir(folder).output();
    // Without rustup the toolchain is somebody else's care; cargo tells if the target is missing.
    let Ok(listed) = listed else { return Ok(()) };
    if String::from_utf8_lossy(&listed.stdout).lines().any(|line| line == TARGET) {
        return Ok(());
    }
    say(&format!("install the target {TARGET} by `rustup target add {TARGET}`"));
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(folder).status();
    match added.map_err(|source| BuildError::Tool { tool: "rustup", source })?.success() {
        true => Ok(()),
        false => Err(BuildError::Failed(format!("`rustup target add {TARGET}` failed"))),
    }
}

/// The cargo workspace around a pack.
#[derive(Debug)]
struct Workspace {
    root: PathBuf,
    packages: Vec<String>,
}

impl Workspace {
    fn of(folder: &Path) -> Result<Self, BuildError> {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(folder)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| BuildError::Tool { tool: "cargo", source })?;
        if !output.status.success() {
            let text = format!(
                "`{}` lies in no cargo workspace; its components' crates must be members of one",
                folder.display()
            );
            return Err(BuildError::Failed(text));
        }
        Self::read(&output.stdout)
            .ok_or_else(|| BuildError::Failed("`cargo metadata` answered in an unknown form".to_owned()))
    }

    fn read(metadata: &[u8]) -> Option<Self> {
        let metadata: Json = serde_json::from_slice(metadata).ok()?;
        let root = PathBuf::from(metadata.get("workspace_root")?.as_str()?);
        let packages = metadata.get("packages")?.as_array()?.iter();
        let packages = packages.filter_map(|package| package.get("name")?.as_str().map(str::to_owned)).collect();
        Some(Self { root, packages })
    }

    /// Builds a crate and gives the file that came out.
    fn build(&self, package: &str) -> Result<PathBuf, BuildError> {
        if !self.packages.iter().any(|known| known == package) {
            let text = format!(
                "the workspace at `{}` has no crate `{package}`; name the crate in `pack.yaml`: `components: {{ NAME: {{ path: …, crate: … }} }}`",
                self.root.display()
            );
            return Err(BuildError::Failed(text));
        }
        let output = self.cargo(package).output().map_err(|source| BuildError::Tool { tool: "cargo", source })?;
        if !output.status.success() {
            return Err(BuildError::Failed(format!("cargo could not build the crate `{package}` for {TARGET}")));
        }
        artifact(&output.stdout, package).ok_or_else(|| {
            let text = format!(
                "the crate `{package}` gives no Wasm file; add `crate-type = [\"cdylib\", \"rlib\"]` to its `[lib]`"
            );
            BuildError::Failed(text)
        })
    }

    fn cargo(&self, package: &str) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
            "-p",
            package,
        ]);
        cargo.arg("--target-dir").arg(self.root.join("target/packs"));
        cargo.current_dir(&self.root).stderr(Stdio::inherit()).stdin(Stdio::null());
        // What the caller's shell set for builds of the machine's own programs must not come into the components.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_BUILD_RUSTFLAGS");
        cargo.env("CARGO_ENCODED_RUSTFLAGS", self.flags().join("\u{1f}"));
        cargo.envs(PROFILE);
        cargo
    }

    /// Takes the folders of this machine out of the output. The later of two that match is taken, so the workspace,
    /// which may lie in the home folder, stands last.
    fn flags(&self) -> Vec<String> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        let home = home.map(|home| remap(&home, "/cargo"));
        home.into_iter().chain([remap(&self.root, "/source")]).collect()
    }
}

/// The Wasm file among cargo's messages.
fn artifact(messages: &[u8], package: &str) -> Option<PathBuf> {
    let name = package.replace('-', "_");
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Json>(line).ok());
    let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
    let mine = artifacts
        .filter(|message| message["target"]["name"].as_str().is_some_and(|target| target.replace('-', "_") == name));
    let files: Vec<Json> = mine.filter_map(|message| message["filenames"].as_array().cloned()).flatten().collect();
    files.iter().filter_map(Json::as_str).find(|file| file.ends_with(".wasm")).map(PathBuf::from)
}

/// Puts a component in its place, whole or not at all.
fn place(pack: &Dir, component: &ComponentName, path: &PackPath, artifact: &Path) -> Result<Built, BuildError> {
    let mut content = Vec::new();
    let shown = artifact.display().to_string();
    let mut file = std::fs::File::open(artifact).map_err(FilesError::io("open", shown.clone()))?;
    file.read_to_end(&mut content).map_err(FilesError::io("read", shown))?;
    let write = || -> io::Result<()> {
        let folder = path.folder().unwrap_or(".");
        pack.create_dir_all(folder)?;
        let folder = pack.open_dir(folder)?;
        let name = path.as_str().rsplit('/').next().unwrap_or(path.as_str());
        let partial = format!(".{name}.partial");
        let mut file = folder.open_with(&partial, OpenOptions::new().write(true).create(true).truncate(true))?;
        file.write_all(&content)?;
        folder.rename(&partial, &folder, name)
    };
    write().map_err(FilesError::io("write", path.as_str()))?;
    let (digest, bytes) = (Digest::of(&content), content.len() as u64);
    Ok(Built { component: component.clone(), path: path.clone(), digest, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wasm_file_is_found_among_cargo_s_messages() {
        let messages = br#"{"reason":"compiler-artifact","target":{"name":"serde"},"filenames":["/t/libserde.rlib"]}
not json
{"reason":"compiler-artifact","target":{"name":"other"},"filenames":["/t/other.wasm"]}
{"reason":"compiler-artifact","target":{"name":"my_actions"},"filenames":["/t/my_actions.wasm","/t/libmy_actions.rlib"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(artifact(messages, "my-actions"), Some(PathBuf::from("/t/my_actions.wasm")));
        assert_eq!(artifact(messages, "serde"), None);
    }

    #[test]
    fn a_component_is_placed_whole_and_only_inside_the_pack() {
        let folder = tempfile::tempdir().unwrap();
        let pack = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let artifact = folder.path().join("artifact");
        let name = ComponentName::parse("a").unwrap();
        for content in [b"old content".as_slice(), b"new"] {
            std::fs::write(&artifact, content).unwrap();
            let built = place(&pack, &name, &PackPath::parse("actions/a.wasm").unwrap(), &artifact).unwrap();
            assert_eq!(built.digest, Digest::of(content));
            assert_eq!(std::fs::read(folder.path().join("actions/a.wasm")).unwrap(), content);
        }
        std::os::unix::fs::symlink("/tmp", folder.path().join("out")).unwrap();
        assert!(place(&pack, &name, &PackPath::parse("out/a.wasm").unwrap(), &artifact).is_err());
        assert!(!Path::new("/tmp/a.wasm").exists());
    }

    #[test]
    fn a_workspace_is_read_from_cargo_s_metadata() {
        let workspace =
            Workspace::read(br#"{"workspace_root":"/w","packages":[{"name":"a"},{"name":"b-c"}]}"#).unwrap();
        assert_eq!(workspace.packages, ["a", "b-c"]);
        assert!(workspace.flags().last().unwrap().ends_with("=/w=/source"));
        assert!(matches!(workspace.build("other"), Err(BuildError::Failed(text)) if text.contains("crate: …")));
    }

    #[test]
    fn a_component_of_another_language_is_built_by_its_own_command() {
        let folder = tempfile::tempdir().unwrap();
        let built = |command: &str| {
            let component = format!("{{ path: actions/a.wasm, build: '{command}' }}");
            let manifest = format!(
                "format: 1\nname: a\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\ncomponents: {{ a: {component} }}\n"
            );
            std::fs::write(folder.path().join("pack.yaml"), manifest).unwrap();
            build(folder.path(), &mut |_| {}).map_err(|error| error.to_string())
        };
        let error = built("true").unwrap_err();
        assert!(error.contains("left no file `actions/a.wasm`"), "{error}");
        assert_eq!(built("printf component > actions/a.wasm").unwrap()[0].digest, Digest::of(b"component"));
        assert!(built("exit 3").unwrap_err().contains("`exit 3` failed"));
    }

    #[test]
    fn a_pack_with_errors_is_not_built() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pack.yaml"), "format: 9\n").unwrap();
        assert!(
            matches!(build(folder.path(), &mut |_| {}), Err(BuildError::Manifest(findings)) if findings.len() == 1)
        );
    }
}
