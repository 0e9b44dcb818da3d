//! `orchctl pack new`: the project of a new pack, which builds and passes its tests as it is.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::Context;
use crate::cli::error::Error;
use crate::desk::template::{self, Sdk};
use crate::model::PackName;

#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// Its name: lower-case letters, digits and `-`.
    #[arg(value_parser = PackName::parse)]
    name: PackName,
    /// The language of its actions.
    #[arg(long, value_enum, default_value = "rust")]
    language: Language,
    /// Where it is made; by default a folder of its name in this one.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// The SDK for Rust: a folder or a version; by default that of the checkout this program was built from.
    #[arg(long, value_name = "PATH|VERSION", value_parser = Sdk::read)]
    sdk: Option<Sdk>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// With the SDK; needs cargo.
    Rust,
    /// Needs npm.
    #[value(alias = "js")]
    Javascript,
}

impl New {
    pub(in crate::cli) fn execute(&self, context: &Context) -> Result<(), Error> {
        let folder = self.path.clone().unwrap_or_else(|| PathBuf::from(self.name.as_str()));
        let (language, prepare) = match self.language {
            Language::Rust => (template::Language::Rust, ""),
            Language::Javascript => (template::Language::JavaScript, "npm install\n  "),
        };
        let sdk = self.sdk.clone().unwrap_or_else(Sdk::here);
        let files = template::make(&folder, &self.name, language, &sdk).map_err(Error::Failed)?;
        let shown = folder.display();
        let listed: String = files.iter().map(|file| format!("  {shown}/{file}\n")).collect();
        let text = format!(
            "the pack `{}` is made:\n{listed}\nGo on with\n  cd {shown}\n  {prepare}orchctl pack build pack\n  orchctl pack test pack",
            self.name
        );
        context.output.said(&text, &json!({ "name": self.name, "folder": folder, "files": files }))
    }
}
