//! A new pack: its files from the templates in `sdk/templates`, with the pack's name in them. It writes nothing over.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::model::PackName;

/// Languages there is a template for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust, with the SDK.
    Rust,
    /// JavaScript, compiled with its engine to a component.
    JavaScript,
}

/// The longest name of a pack that is made: with `-actions` behind it, it is still the name of a component.
const NAME_CHARS_MAX: usize = 48;

type Files = &'static [(&'static str, &'static str)];

macro_rules! template {
    ($($path:literal <- $file:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $file)))),*]
    };
}

const PACK: Files = template! {
    "pack/pack.yaml" <- "sdk/templates/pack/pack.yaml",
    "pack/schemas/get-item.input.json" <- "sdk/templates/pack/schemas/get-item.input.json",
    "pack/schemas/get-item.output.json" <- "sdk/templates/pack/schemas/get-item.output.json",
    "pack/workflows/show-item.yaml" <- "sdk/templates/pack/workflows/show-item.yaml",
    "pack/tests/show-item.yaml" <- "sdk/templates/pack/tests/show-item.yaml",
};

const RUST: Files = template! {
    "Cargo.toml" <- "sdk/templates/rust/workspace.toml",
    "README.md" <- "sdk/templates/rust/README.md",
    ".gitignore" <- "sdk/templates/rust/gitignore",
    "actions/Cargo.toml" <- "sdk/templates/rust/actions/package.toml",
    "actions/src/lib.rs" <- "sdk/templates/rust/actions/src/lib.rs",
};

const JAVASCRIPT: Files = template! {
    "package.json" <- "sdk/templates/javascript/package.json",
    "README.md" <- "sdk/templates/javascript/README.md",
    ".gitignore" <- "sdk/templates/javascript/gitignore",
    "actions/actions.js" <- "sdk/templates/javascript/actions/actions.js",
    "actions/platform.js" <- "sdk/templates/javascript/actions/platform.js",
    "actions/wit/world.wit" <- "sdk/templates/javascript/actions/world.wit",
    "actions/wit/deps/action-0.1.0/action.wit" <- "wit/deps/action-0.1.0/action.wit",
    "actions/wit/deps/http-0.1.0/http.wit" <- "wit/deps/http-0.1.0/http.wit",
    "actions/wit/deps/log-0.1.0/log.wit" <- "wit/deps/log-0.1.0/log.wit",
    "actions/wit/deps/progress-0.1.0/progress.wit" <- "wit/deps/progress-0.1.0/progress.wit",
    "actions/wit/deps/secrets-0.1.0/secrets.wit" <- "wit/deps/secrets-0.1.0/secrets.wit",
};

/// Where a Rust pack's SDK comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sdk {
    /// A folder.
    Path(PathBuf),
    /// A version in the registry.
    Version(semver::VersionReq),
}

impl Sdk {
    /// The folder of the checkout that this program was built from, if it is still there; else the program's version.
    pub fn here() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk");
        match folder.canonicalize() {
            Ok(folder) if folder.join("Cargo.toml").is_file() => Self::Path(folder),
            _ => {
                Self::Version(semver::VersionReq::parse(env!("CARGO_PKG_VERSION")).expect("a version is a requirement"))
            }
        }
    }

    /// A folder, or a version.
    ///
    /// # Errors
    /// It is neither.
    pub fn read(text: &str) -> Result<Self, String> {
        if let Ok(folder) = Path::new(text).canonicalize()
            && folder.join("Cargo.toml").is_file()
        {
            return Ok(Self::Path(folder));
        }
        let version = semver::VersionReq::parse(text);
        version.map(Self::Version).map_err(|_| format!("`{text}` is neither the folder of the SDK nor a version"))
    }

    fn dependency(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Path(folder) => format!("{{ path = {} }}", quoted(&folder.display().to_string())),
            Self::Version(version) => quoted(&version.to_string()),
        }
    }
}

/// Makes a pack's project in `folder`, and gives the paths of its files there.
///
/// # Errors
/// The name is too long, one of the files is there already (nothing is written then), or cannot be written.
pub fn make(folder: &Path, name: &PackName, language: Language, sdk: &Sdk) -> Result<Vec<&'static str>, String> {
    if name.as_str().len() > NAME_CHARS_MAX {
        return Err(format!("choose a shorter name: `{name}` has more than {NAME_CHARS_MAX} characters"));
    }
    let files = files(language);
    if let Some((path, _)) = files.iter().find(|(path, _)| folder.join(path).exists()) {
        return Err(format!("`{}` is there already, and nothing is written over", folder.join(path).display()));
    }
    for (path, content) in &files {
        let path = folder.join(path);
        let wrong = |error: std::io::Error| format!("write `{}`: {error}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(wrong)?;
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(wrong)?;
        file.write_all(filled(content, name, language, sdk).as_bytes()).map_err(wrong)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn files(language: Language) -> Vec<(&'static str, &'static str)> {
    let own = match language {
        Language::Rust => RUST,
        Language::JavaScript => JAVASCRIPT,
    };
    PACK.iter().chain(own).copied().collect()
}

fn filled(content: &str, name: &PackName, language: Language, sdk: &Sdk) -> String {
    let file = format!("actions/{name}-actions.wasm");
    let component = match language {
        Language::Rust => file,
        Language::JavaScript => format!("{{ path: {file}, build: cd .. && npm run --silent build }}"),
    };
    // A WIT package may not start with a digit, a pack may.
    let wit = format!("pack-{name}");
    let parts = [("name", name.as_str()), ("component", &component), ("sdk", &sdk.dependency()), ("wit", &wit)];
    parts.iter().fold(content.to_owned(), |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PackName {
        PackName::parse(text).unwrap()
    }

    #[test]
    fn a_new_pack_has_its_name_everywhere_and_a_manifest_that_reads() {
        for language in [Language::Rust, Language::JavaScript] {
            let folder = tempfile::tempdir().unwrap();
            let made = make(folder.path(), &name("shop-items"), language, &Sdk::here()).unwrap();
            for path in &made {
                let text = std::fs::read_to_string(folder.path().join(path)).unwrap();
                assert!(!text.contains("{{"), "{path} has a gap: {text}");
            }
            let text = std::fs::read_to_string(folder.path().join("pack/pack.yaml")).unwrap();
            let manifest = crate::pack::manifest::parse(&text, "pack.yaml").unwrap().manifest;
            assert_eq!(manifest.name.as_str(), "shop-items");
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("pack")).unwrap();
        std::fs::write(folder.path().join("pack/pack.yaml"), "mine").unwrap();
        let error = make(folder.path(), &name("a"), Language::Rust, &Sdk::here()).unwrap_err();
        assert!(error.contains("pack.yaml") && error.contains("there already"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else was written");
    }

    #[test]
    fn the_sdk_is_a_folder_or_a_version() {
        assert!(matches!(Sdk::here(), Sdk::Path(_)), "these tests run in a checkout");
        assert_eq!(Sdk::read("1.2").unwrap().dependency(), "\"^1.2\"");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk");
        assert!(Sdk::read(&folder.display().to_string()).unwrap().dependency().contains("path = \"/"));
        assert!(Sdk::read("no/such/folder").is_err());
    }
}
