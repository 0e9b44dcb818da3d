//! `orchctl pack archive`: a built and sound pack as one file, the same bytes for the same content.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{chain, files, report};
use crate::cli::Context;
use crate::cli::error::Error;
use crate::cli::workflow::desk::tools;
use crate::definition::Severity;
use crate::desk::check_pack::{self, Built};
use crate::model::Digest;
use crate::pack::archive;
use crate::pack::directory::Directory;

#[derive(Debug, Args)]
pub(in crate::cli) struct Archive {
    /// The pack's folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The file to write; by default NAME-VERSION.tar.zst in this folder.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where compiled code is kept; by default below the user's cache folder.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl Archive {
    pub(in crate::cli) fn execute(&self, context: &Context) -> Result<(), Error> {
        let tools = tools(self.cache.as_deref())?;
        let checked = check_pack::check(&self.folder, &[], &tools, Built::Required).map_err(Error::Failed)?;
        if checked.findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(Error::Failed(format!("the pack has errors\n\n{}", report(&checked.findings))));
        }
        let directory = Directory::open(&self.folder).map_err(files)?;
        let name = checked.named.map_or_else(|| "pack".to_owned(), |(name, version)| format!("{name}-{version}"));
        let file = self.file.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.tar.zst")));
        let bytes = archive::write(&directory).map_err(files)?;
        write(&file, &bytes)?;
        let (digest, sum) = (directory.digest(), Digest::of(&bytes));
        let text = format!("{} {} bytes\npack    {digest}\narchive {sum}", file.display(), bytes.len());
        let data = json!({ "file": file, "bytes": bytes.len(), "digest": digest, "archiveDigest": sum });
        context.output.said(&text, &data)
    }
}

/// Puts the file in its place, whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    let wrong = |error: &dyn std::error::Error| Error::Failed(format!("write `{}`: {}", file.display(), chain(error)));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| wrong(&error))?;
    std::io::Write::write_all(&mut temporary, bytes).map_err(|error| wrong(&error))?;
    temporary.persist(file).map(drop).map_err(|error| wrong(&error))
}
