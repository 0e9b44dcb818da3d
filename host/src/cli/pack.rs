//! `orchctl pack`: building, checking, installing, showing and removing packs.

mod archive;
mod check;
mod new;
mod run;
mod test;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::Context;
use super::client::{Client, Page};
use super::error::Error;
use super::grant::Grant;
use super::listing::Listing;
use super::output::{Column, aside, line, printable};
use crate::definition::Diagnostic;
use crate::pack::archive::{ARCHIVE_BYTES_MAX, write as packed};
use crate::pack::build::{self, BuildError};
use crate::pack::directory::{Directory, FilesError};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Install a pack from its folder or an archive.
    #[command(after_help = "Example: orchctl pack install packs/storage")]
    Install {
        /// A pack's folder, a .tar.zst or a .tar.gz.
        path: PathBuf,
    },
    /// List the installed packs.
    #[command(after_help = "Example: orchctl pack list")]
    List(Listing),
    /// Show a pack, or one version of it.
    #[command(after_help = "Example: orchctl pack show greeting 1.0.0")]
    Show {
        /// Its name.
        name: String,
        /// The version.
        version: Option<String>,
    },
    /// Remove a version of a pack.
    #[command(after_help = "Example: orchctl pack remove greeting 1.0.0")]
    Remove {
        /// Its name.
        name: String,
        /// The version.
        version: String,
        /// Even where instances or other packs use it.
        #[arg(long)]
        force: bool,
    },
    /// Make a new pack, which builds and passes its tests as it is. Needs no server.
    #[command(after_help = "Examples:
  orchctl pack new shop-items
  orchctl pack new shop-items --language javascript --path ~/src/shop-items")]
    New(new::New),
    /// Compile the components of packs for the sandbox: crates by cargo, others by their own command under `build` in
    /// pack.yaml. Needs no server.
    #[command(after_help = "Example: orchctl pack build packs/greeting --archive greeting.tar.zst")]
    Build(Build),
    /// Check packs as an installation would. Needs no server.
    #[command(after_help = "Example: orchctl pack check packs/greeting")]
    Check(check::Check),
    /// Run the tests of packs: the cases in their `tests/*.yaml`. Needs no server, and nothing leaves this machine.
    #[command(after_help = test::HELP)]
    Test(test::Test),
    /// Run one action or workflow of a pack on this machine, against real connections. Needs no server.
    #[command(after_help = run::HELP)]
    Run(Box<run::Run>),
    /// Write a built pack as one file, the same bytes for the same content. Needs no server.
    #[command(after_help = "Example: orchctl pack archive packs/greeting greeting-1.0.0.tar.zst")]
    Archive(archive::Archive),
    /// Show or change what a pack may use.
    Grant(Grant),
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// The packs' folders.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Also write the pack as an archive, the same bytes for the same files. Only with one folder.
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
}

const LIST: &[Column] = &[
    ("NAME", &["/name", "/manifest/name"]),
    ("VERSION", &["/version", "/latest", "/manifest/version"]),
    ("VERSIONS", &["/versions"]),
    ("INSTALLED", &["/installedAt"]),
    ("DESCRIPTION", &["/description", "/manifest/description"]),
];

const WIDE: &[Column] = &[("SERVICES", &["/services"]), ("BYTES", &["/bytes"]), ("DIGEST", &["/digest"])];

const SHOW: &[Column] = &[
    ("Name", &["/name", "/manifest/name"]),
    ("Version", &["/version", "/latest", "/manifest/version"]),
    ("Versions", &["/versions"]),
    ("Description", &["/description", "/manifest/description"]),
    ("Digest", &["/digest"]),
    ("Bytes", &["/bytes"]),
    ("Installed", &["/installedAt"]),
    ("Connections", &["/connections", "/manifest/connections"]),
    ("Secrets", &["/secrets", "/manifest/secrets"]),
    ("Actions", &["/actions", "/manifest/actions"]),
    ("Workflows", &["/workflows"]),
    ("Services", &["/services", "/manifest/services"]),
];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Install { path } => install(context, &context.client()?, path).await,
            Self::List(listing) => {
                let list = context.client()?.all(&["packs"], &[], Page::WHOLE).await?;
                context.output.list_wide(&listing.apply(list)?, LIST, WIDE)
            }
            Self::Show { name, version } => {
                let segments: Vec<&str> = ["packs", name].into_iter().chain(version.as_deref()).collect();
                show(context, &context.client()?.get(&segments, &[]).await?)
            }
            Self::Remove { name, version, force } => {
                let query: &[(&str, &str)] = if *force { &[("force", "true")] } else { &[] };
                context.client()?.delete(&["packs", name, version], query).await?;
                let removed = json!({ "name": name, "version": version });
                context.output.said(&format!("pack `{name}` {version} is removed"), &removed)
            }
            Self::Build(build) => build.execute(context),
            Self::Check(check) => check.execute(context).await,
            Self::Test(test) => test.execute(context).await,
            Self::New(new) => new.execute(context),
            Self::Run(run) => run.execute(context).await,
            Self::Archive(archive) => archive.execute(context),
            Self::Grant(grant) => grant.execute(context).await,
        }
    }
}

/// A pack that is a list of versions is shown as a list.
fn show(context: &Context, pack: &Json) -> Result<(), Error> {
    match pack.get("items") {
        Some(_) => context.output.list(pack, LIST),
        None => context.output.thing(pack, SHOW),
    }
}

async fn install(context: &Context, client: &Client, path: &Path) -> Result<(), Error> {
    let archive = match path.is_dir() {
        true => packed(&Directory::open(path).map_err(files)?).map_err(files)?,
        false => archive_file(path)?,
    };
    let answer = client.install(archive).await?;
    for warning in answer.get("warnings").and_then(Json::as_array).into_iter().flatten() {
        let text = |key: &str| warning.get(key).and_then(Json::as_str).unwrap_or_default();
        aside(&format!("warning: {}: {}", text("path"), text("message")));
    }
    let text = |pointers: &[&str]| super::output::cell(&answer, pointers);
    let (name, version) =
        (text(&["/name", "/pack/name", "/manifest/name"]), text(&["/version", "/pack/version", "/manifest/version"]));
    context.output.said(&format!("pack `{name}` {version} is installed"), &answer)
}

fn archive_file(path: &Path) -> Result<Vec<u8>, Error> {
    let wrong = |reason: String| Error::Usage(format!("read `{}`: {reason}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > ARCHIVE_BYTES_MAX as u64 {
        return Err(wrong("an archive has at most 256 MiB".to_owned()));
    }
    std::fs::read(path).map_err(|error| wrong(error.to_string()))
}

impl Build {
    fn execute(&self, context: &Context) -> Result<(), Error> {
        if self.archive.is_some() && self.folders.len() > 1 {
            return Err(Error::Usage("--archive writes one pack; build the folders one by one".to_owned()));
        }
        let mut all = Vec::new();
        for folder in &self.folders {
            all.extend(self.pack(context, folder)?);
        }
        match context.output.is_for_people() {
            true => Ok(()),
            false => context.output.data(&json!({ "items": all })),
        }
    }

    fn pack(&self, context: &Context, folder: &Path) -> Result<Vec<Json>, Error> {
        let built = build::build(folder, &mut |text| aside(text)).map_err(failed)?;
        let mut all = Vec::new();
        for component in built {
            if context.output.is_for_people() {
                let path = folder.join(component.path.as_str());
                line(&format!("{} {} {} bytes", path.display(), component.digest, component.bytes))?;
            }
            all.push(json!({
                "folder": folder, "component": component.component, "path": component.path,
                "digest": component.digest, "bytes": component.bytes,
            }));
        }
        let directory = Directory::open(folder).map_err(files)?;
        if context.output.is_for_people() {
            line(&format!("{} {} {} bytes", folder.display(), directory.digest(), directory.bytes()))?;
        }
        if let Some(path) = &self.archive {
            let bytes = packed(&directory).map_err(files)?;
            std::fs::write(path, bytes)
                .map_err(|error| Error::Failed(format!("write `{}`: {error}", path.display())))?;
        }
        Ok(all)
    }
}

fn failed(error: BuildError) -> Error {
    match error {
        BuildError::Manifest(findings) => Error::Failed(report(&findings)),
        BuildError::Files(error) => files(error),
        error => Error::Failed(chain(&error)),
    }
}

fn files(error: FilesError) -> Error {
    Error::Failed(chain(&error))
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

/// Findings as a compiler prints them.
fn report(findings: &[Diagnostic]) -> String {
    findings.iter().map(|finding| printable(&finding.to_string())).collect::<Vec<_>>().join("\n\n")
}
