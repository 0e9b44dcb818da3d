//! What was set, by whom, and everything that is wrong with it: arguments over environment over file over defaults. One
//! reading tells every fault.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::setting::{SectionTable, Setting, Shape};
use super::value::Value;
use crate::definition::diagnostic::near;
use crate::definition::yaml::{self, Tree};

/// Where a setting's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An argument; its flag without hyphens.
    Argument(String),
    /// An environment variable.
    Environment(String),
    /// A line of the settings file.
    File {
        /// The file.
        path: Arc<str>,
        /// The line, from 1.
        line: u32,
    },
    /// The program.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(flag) => write!(formatter, "--{flag}"),
            Self::Environment(variable) => formatter.write_str(variable),
            Self::File { path, line } => write!(formatter, "{path}:{line}"),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was set; nowhere for what is missing.
    pub origin: Option<Origin>,
    /// The setting's key.
    pub key: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, &self.key) {
            (Some(origin @ Origin::File { .. }), Some(key)) => write!(formatter, "{origin}: `{key}`: ")?,
            (Some(Origin::Default) | None, Some(key)) => write!(formatter, "`{key}`: ")?,
            (Some(origin), _) => write!(formatter, "{origin}: ")?,
            (None, None) => {}
        }
        formatter.write_str(&self.message)
    }
}

/// What people said, before it is understood.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The values of flags, by key.
    pub arguments: HashMap<&'static str, Vec<String>>,
    /// The environment variables whose names begin with `ORCHESTRATOR_`.
    pub environment: BTreeMap<String, String>,
    /// The settings file: its path and text.
    pub file: Option<(String, String)>,
}

/// The texts of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The texts, in order.
    pub texts: Vec<String>,
    /// Who gave them.
    pub origin: Origin,
}

/// Everything that was set, and what is wrong so far.
#[derive(Debug, Clone, Default)]
pub struct Found {
    given: HashMap<&'static str, Given>,
    settings: HashMap<&'static str, Setting>,
    faults: Vec<Fault>,
}

impl Found {
    /// Looks all settings up in their sources.
    pub fn collect(sections: &[SectionTable], sources: &Sources) -> Self {
        let settings = sections.iter().flat_map(|section| section.settings).map(|setting| (setting.key, *setting));
        let mut found = Self { settings: settings.collect(), ..Self::default() };
        let file = sources.file.as_ref().map(|(path, text)| found.of_file(path, text)).unwrap_or_default();
        for setting in sections.iter().flat_map(|section| section.settings) {
            let given = of_arguments(setting, sources)
                .or_else(|| of_environment(setting, sources))
                .or_else(|| file.get(setting.key).cloned())
                .or_else(|| of_default(setting));
            found.given.extend(given.map(|given| (setting.key, given)));
        }
        found
    }

    /// The value of a setting; a fault is kept where there is none.
    pub fn take<T: Value>(&mut self, key: &'static str) -> Option<T> {
        let Some(given) = self.given.get(key) else {
            if T::unset().is_none() {
                let cure = self.settings.get(key).map(missing).unwrap_or_default();
                self.fault(key, cure);
            }
            return T::unset();
        };
        let texts: Vec<&str> = given.texts.iter().map(String::as_str).collect();
        match T::read(&texts) {
            Ok(value) => Some(value),
            Err(message) => {
                // What is hidden stays so in messages, which quote what they refuse.
                let message = if T::SECRET { "the hidden value does not fit".to_owned() } else { message };
                self.fault(key, message);
                None
            }
        }
    }

    /// Keeps a fault of a setting.
    pub fn fault(&mut self, key: &str, message: impl Into<String>) {
        let origin = self.origin(key).cloned();
        self.faults.push(Fault { origin, key: Some(key.to_owned()), message: message.into() });
    }

    /// Who set a setting.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.given.get(key).map(|given| &given.origin)
    }

    /// What a setting was given.
    pub fn given(&self, key: &str) -> Option<&Given> {
        self.given.get(key)
    }

    /// What is wrong, in the order of the file and then of the settings.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn of_file(&mut self, path: &str, text: &str) -> HashMap<&'static str, Given> {
        let path: Arc<str> = path.into();
        let mut given = HashMap::new();
        match yaml::parse(text, &path) {
            Ok(tree) => self.flatten(&path, "", &tree, &mut given),
            Err(diagnostic) => {
                let origin = Origin::File { path, line: diagnostic.line };
                self.faults.push(Fault { origin: Some(origin), key: None, message: diagnostic.message });
            }
        }
        given
    }

    fn flatten(&mut self, path: &Arc<str>, prefix: &str, tree: &Tree, given: &mut HashMap<&'static str, Given>) {
        let Some(entries) = tree.as_map() else {
            if tree.value != yaml::Value::Null {
                let key = prefix.trim_end_matches('.');
                let message = format!("a mapping of settings is expected, not {}", tree.kind());
                self.file_fault(path, tree.position.line, key, message);
            }
            return;
        };
        for entry in entries {
            let key = format!("{prefix}{}", entry.key);
            let line = entry.position.line;
            if let Some(setting) = self.settings.get(key.as_str()).copied() {
                match texts(&setting, &entry.value) {
                    Ok(None) => {}
                    Ok(Some(texts)) => {
                        let origin = Origin::File { path: path.clone(), line };
                        given.insert(setting.key, Given { texts, origin });
                    }
                    Err(message) => self.file_fault(path, line, &key, message),
                }
            } else if self.is_group(&key) {
                self.flatten(path, &format!("{key}."), &entry.value, given);
            } else {
                let message = unknown("setting", &key, self.settings.keys().copied());
                self.file_fault(path, line, &key, message);
            }
        }
    }

    fn is_group(&self, key: &str) -> bool {
        self.settings.keys().any(|known| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
    }

    fn file_fault(&mut self, path: &Arc<str>, line: u32, key: &str, message: String) {
        let origin = Origin::File { path: path.clone(), line };
        let key = Some(key.to_owned()).filter(|key| !key.is_empty());
        self.faults.push(Fault { origin: Some(origin), key, message });
    }
}

/// What is said of a name that nobody knows.
pub(super) fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match near(name, known).first() {
        Some(near) => format!("there is no such {kind}; did you mean `{near}`?"),
        None => format!("there is no such {kind}; `orchestrator config reference` lists them"),
    }
}

fn missing(setting: &Setting) -> String {
    let (flag, word, variable) = (setting.flag(), setting.word, setting.variable());
    format!(
        "it must be set: give `--{flag} {word}`, set {variable}, or write `{}:` in the file of --config",
        setting.key
    )
}

fn of_arguments(setting: &Setting, sources: &Sources) -> Option<Given> {
    let given = sources.arguments.get(setting.key)?;
    let texts = given.iter().flat_map(|text| split(setting, text)).collect();
    Some(Given { texts, origin: Origin::Argument(setting.flag()) })
}

/// An empty variable is one that nobody set: it is how a unit or a container leaves a value out.
fn of_environment(setting: &Setting, sources: &Sources) -> Option<Given> {
    let variable = setting.variable();
    let text = sources.environment.get(&variable).filter(|text| !text.is_empty())?;
    Some(Given { texts: split(setting, text), origin: Origin::Environment(variable) })
}

fn of_default(setting: &Setting) -> Option<Given> {
    let text = setting.default?;
    Some(Given { texts: split(setting, text), origin: Origin::Default })
}

fn split(setting: &Setting, text: &str) -> Vec<String> {
    if setting.shape != Shape::Many {
        return vec![text.to_owned()];
    }
    let parts = text.split(setting.separators).map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// The texts of a value in the file; nothing where it is null.
fn texts(setting: &Setting, tree: &Tree) -> Result<Option<Vec<String>>, String> {
    if tree.value == yaml::Value::Null {
        return Ok(None);
    }
    if setting.shape == Shape::Json {
        return Ok(Some(vec![tree.to_json().to_string()]));
    }
    if let Some(items) = tree.as_list().filter(|_| setting.shape == Shape::Many) {
        return items.iter().map(scalar).collect::<Result<Vec<_>, _>>().map(Some);
    }
    scalar(tree).map(|text| Some(vec![text]))
}

fn scalar(tree: &Tree) -> Result<String, String> {
    match &tree.value {
        yaml::Value::Text(text) => Ok(text.clone()),
        yaml::Value::Bool(value) => Ok(value.to_string()),
        yaml::Value::Number(number) => Ok(number.to_string()),
        _ => Err(format!("one value is expected, not {}", tree.kind())),
    }
}
