//! The server's command line, made from the settings' declarations.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::found::{Fault, Sources};
use super::setting::{Setting, Shape};
use super::{ConfigError, SECTIONS};

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Serve.
    Serve,
    /// Say what is wrong with the settings.
    Check,
    /// Show the settings and where each comes from.
    Show,
    /// Print the reference of all settings.
    Reference,
    /// Make a new admin token for who is locked out.
    ResetAdminToken,
}

/// An invocation: what to do, with which settings.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// What to do.
    pub task: Task,
    /// What was set.
    pub sources: Sources,
}

/// The environment variable that names the settings file.
const CONFIG_VARIABLE: &str = "ORCHESTRATOR_CONFIG";

/// Every variable that is ours begins with this.
const PREFIX: &str = "ORCHESTRATOR_";

impl Invocation {
    /// Reads a command line, the environment and the file that either names.
    ///
    /// # Errors
    /// The file cannot be read, or a value is not text.
    pub fn read(
        matches: &ArgMatches,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let environment = ours(environment)?;
        let (task, matches) = task(matches);
        let named = matches.get_one::<String>("config").or_else(|| environment.get(CONFIG_VARIABLE));
        let file = named.filter(|path| !path.is_empty()).map(|path| read(path)).transpose()?;
        Ok(Self { task, sources: Sources { arguments: arguments(matches), environment, file } })
    }
}

fn task(matches: &ArgMatches) -> (Task, &ArgMatches) {
    let config = match matches.subcommand() {
        Some(("config", config)) => config,
        Some(("token", token)) => {
            return (Task::ResetAdminToken, token.subcommand().map_or(token, |(_, matches)| matches));
        }
        _ => return (Task::Serve, matches),
    };
    match config.subcommand() {
        Some(("show", matches)) => (Task::Show, matches),
        Some(("reference", matches)) => (Task::Reference, matches),
        Some((_, matches)) => (Task::Check, matches),
        None => (Task::Check, config),
    }
}

fn ours(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = BTreeMap::new();
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let not_text = |_| fault(format!("{name} is not UTF-8 text: set another value"));
        variables.insert(name.to_owned(), value.into_string().map_err(not_text)?);
    }
    Ok(variables)
}

fn read(path: &str) -> Result<(String, String), ConfigError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| fault(format!("the settings file `{path}` cannot be read: {error}")))?;
    Ok((path.to_owned(), text))
}

fn fault(message: String) -> ConfigError {
    ConfigError { faults: vec![Fault { origin: None, key: None, message }] }
}

fn arguments(matches: &ArgMatches) -> HashMap<&'static str, Vec<String>> {
    let settings = SECTIONS.iter().flat_map(|section| section.settings);
    let given = |setting: &Setting| {
        let texts = matches.get_many::<String>(setting.key)?;
        Some((setting.key, texts.cloned().collect()))
    };
    settings.filter_map(given).collect()
}

/// The command line.
pub fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .global(true)
        .help("A YAML file with these settings; arguments and environment go before it [env: ORCHESTRATOR_CONFIG]");
    let mut command = Command::new("orchestrator")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs workflows whose actions are sandboxed Wasm components.")
        .arg(config)
        .subcommand(config_command())
        .subcommand(token_command());
    for section in SECTIONS {
        command = command.args(section.settings.iter().map(|setting| argument(setting).help_heading(section.title)));
    }
    command
}

fn config_command() -> Command {
    let check = "Says everything that is wrong with the settings, and ends with 0 where nothing is";
    let show = "Shows the settings and where each comes from";
    Command::new("config")
        .about("Checks, shows and explains the settings; serves nothing")
        .subcommand_required(true)
        .subcommand(Command::new("check").about(check))
        .subcommand(Command::new("show").about(show))
        .subcommand(Command::new("reference").about("Prints the reference of all settings, in Markdown"))
}

fn token_command() -> Command {
    let reset = "Makes a new token `admin` in place of the one there is, and shows it; the server must be stopped";
    Command::new("token")
        .about("Helps who is locked out")
        .subcommand_required(true)
        .subcommand(Command::new("reset-admin").about(reset))
}

fn argument(setting: &Setting) -> Arg {
    let argument = Arg::new(setting.key).long(setting.flag()).value_name(setting.word).global(true).help(help(setting));
    match setting.shape {
        Shape::Many => argument.action(ArgAction::Append),
        Shape::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Shape::One | Shape::Json => argument,
    }
}

fn help(setting: &Setting) -> String {
    let text = setting.help_line();
    let default = setting.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    format!("{text}{default} [env: {}]", setting.variable())
}
