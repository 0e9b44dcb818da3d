//! The server's settings: arguments over environment over a YAML file over defaults, checked together. It opens nothing
//! but that file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;
use serde::Deserialize;
use url::Url;

use crate::coordinator::EventSettings;

/// The server's arguments. Each may also be set in the environment, and most in the file of `--config`.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "orchestrator", version, about = "Runs workflows whose actions are sandboxed Wasm components.")]
pub struct Arguments {
    /// The directory that keeps all state; made with access for this user alone.
    #[arg(long, env = "ORCHESTRATOR_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// The address to listen on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "ORCHESTRATOR_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,

    /// A file that receives the base URL once the server is ready.
    #[arg(long, env = "ORCHESTRATOR_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// The directory of compiled components; may be lost at any time [default: DATA/cache]
    #[arg(long, env = "ORCHESTRATOR_CACHE", value_name = "DIR")]
    pub cache: Option<PathBuf>,

    /// A YAML file with these settings, in camelCase; arguments and environment go before it.
    #[arg(long, env = "ORCHESTRATOR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// How the log on standard error is written [default: text]
    #[arg(long, env = "ORCHESTRATOR_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Another host name under which requests are answered while listening on loopback; may be repeated.
    #[arg(long = "allow-host", env = "ORCHESTRATOR_ALLOW_HOSTS", value_name = "NAME", value_delimiter = ',')]
    pub allow_hosts: Vec<String>,

    /// How long an event may come before its listener, at most a day [default: 10m]
    #[arg(long, env = "ORCHESTRATOR_EVENT_WINDOW", value_name = "DURATION")]
    pub event_window: Option<SignedDuration>,

    /// How long an event that comes again is known and dropped, at most 30 days [default: 24h]
    #[arg(long, env = "ORCHESTRATOR_EVENT_DEDUP", value_name = "DURATION")]
    pub event_dedup: Option<SignedDuration>,

    /// Where emitted and lifecycle events are posted as CloudEvents; may be repeated.
    #[arg(long = "event-sink", env = "ORCHESTRATOR_EVENT_SINKS", value_name = "URL", value_delimiter = ' ')]
    pub event_sinks: Vec<Url>,

    /// Listen beyond this machine although requests are not authenticated: whoever reaches the port may do everything.
    #[arg(long, env = "ORCHESTRATOR_INSECURE_NO_AUTHENTICATION")]
    pub insecure_no_authentication: bool,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the file of `--config` may set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    ready_file: Option<PathBuf>,
    cache: Option<PathBuf>,
    log_format: Option<LogFormat>,
    #[serde(default)]
    allow_hosts: Vec<String>,
    event_window: Option<SignedDuration>,
    event_dedup: Option<SignedDuration>,
    #[serde(default)]
    event_sinks: Vec<Url>,
    #[serde(default)]
    insecure_no_authentication: bool,
}

/// The server's settings, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory that keeps all state.
    pub data: PathBuf,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The file that receives the base URL once the server is ready.
    pub ready_file: Option<PathBuf>,
    /// The directory of compiled components.
    pub cache: PathBuf,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Further host names that are answered on loopback, lower case.
    pub allow_hosts: Vec<String>,
    /// How events are kept and where they go.
    pub events: EventSettings,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read the settings in `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file's text is not right.
    #[error("understand the settings in `{path}`: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        message: String,
    },
    /// There is no data directory.
    #[error("find the data directory: give `--data DIR` or set ORCHESTRATOR_DATA")]
    NoData,
    /// Others could reach the server.
    #[error(
        "listen on {0}: requests are not authenticated yet, so whoever reaches that address could run and change \
         everything; listen on 127.0.0.1 and put an authenticating proxy before it, or accept the risk with \
         `--insecure-no-authentication`"
    )]
    Unprotected(SocketAddr),
    /// A host name is not one.
    #[error("answer for the host `{0}`: give a name without scheme, port or path, such as `orchestrator.example`")]
    Host(String),
    /// A duration of events is not sensible.
    #[error(
        "keep events for {0:#}: give `--event-window` up to 24h and `--event-dedup` up to 30 days, in `10m` or `PT10M` form"
    )]
    EventDuration(SignedDuration),
    /// A sink is none.
    #[error("send events to `{0}`: give `--event-sink` an http or https URL without a fragment")]
    Sink(String),
}

/// The inbox is looked through by each listener; it is no archive.
const WINDOW_HOURS_MAX: i64 = 24;

/// Who repeats an event does so within hours; each known event is a row.
const DEDUP_HOURS_MAX: i64 = 30 * 24;

const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Config {
    /// Settles the arguments (which hold the environment already) with their file and the defaults.
    ///
    /// # Errors
    /// The file cannot be read or understood, a setting is missing, or a setting is not allowed.
    pub fn resolve(arguments: Arguments) -> Result<Self, ConfigError> {
        let file = arguments.config.as_deref().map(read).transpose()?.unwrap_or_default();
        Self::settle(arguments, file)
    }

    fn settle(arguments: Arguments, file: File) -> Result<Self, ConfigError> {
        let data = arguments.data.or(file.data).ok_or(ConfigError::NoData)?;
        let listen = arguments.listen.or(file.listen).unwrap_or(LISTEN_DEFAULT);
        let accepted = arguments.insecure_no_authentication || file.insecure_no_authentication;
        if !listen.ip().is_loopback() && !accepted {
            return Err(ConfigError::Unprotected(listen));
        }
        let defaults = EventSettings::default();
        let sinks = if arguments.event_sinks.is_empty() { file.event_sinks } else { arguments.event_sinks };
        let hosts = if arguments.allow_hosts.is_empty() { file.allow_hosts } else { arguments.allow_hosts };
        Ok(Self {
            listen,
            ready_file: arguments.ready_file.or(file.ready_file),
            cache: arguments.cache.or(file.cache).unwrap_or_else(|| data.join("cache")),
            log_format: arguments.log_format.or(file.log_format).unwrap_or_default(),
            allow_hosts: hosts.into_iter().map(host_name).collect::<Result<_, _>>()?,
            events: EventSettings {
                window: duration(arguments.event_window.or(file.event_window), defaults.window, WINDOW_HOURS_MAX)?,
                dedup: duration(arguments.event_dedup.or(file.event_dedup), defaults.dedup, DEDUP_HOURS_MAX)?,
                sinks: sinks.into_iter().map(sink).collect::<Result<_, _>>()?,
            },
            data,
        })
    }
}

fn duration(
    given: Option<SignedDuration>,
    default: SignedDuration,
    hours_max: i64,
) -> Result<SignedDuration, ConfigError> {
    let duration = given.unwrap_or(default);
    let fits = !duration.is_negative() && duration <= SignedDuration::from_hours(hours_max);
    if fits { Ok(duration) } else { Err(ConfigError::EventDuration(duration)) }
}

fn sink(url: Url) -> Result<Url, ConfigError> {
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none();
    if fits { Ok(url) } else { Err(ConfigError::Sink(url.to_string().chars().take(200).collect())) }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    crate::definition::yaml::from_yaml(&text).map_err(|message| ConfigError::Parse { path: path.to_owned(), message })
}

fn host_name(text: String) -> Result<String, ConfigError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(fits) {
        return Err(ConfigError::Host(text.chars().take(100).collect()));
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments::try_parse_from(std::iter::once("orchestrator").chain(line.split_whitespace())).unwrap()
    }

    fn settle(line: &str, file: &str) -> Result<Config, ConfigError> {
        Config::settle(arguments(line), crate::definition::yaml::from_yaml(file).unwrap())
    }

    #[test]
    fn arguments_go_before_the_file_and_the_file_before_defaults() {
        let file = "data: /file\ncache: /cache\nlogFormat: json\nallowHosts: [A.example]";
        let config = settle("--data /argument --log-format text", file).unwrap();
        assert_eq!(config.data, Path::new("/argument"));
        assert_eq!(config.cache, Path::new("/cache"));
        assert_eq!(config.log_format, LogFormat::Text);
        assert_eq!(config.listen, LISTEN_DEFAULT);
        assert_eq!(config.allow_hosts, ["a.example"]);
        assert_eq!(settle("--data /d", "{}").unwrap().cache, Path::new("/d/cache"));
    }

    #[test]
    fn listening_beyond_this_machine_must_be_asked_for() {
        for address in ["0.0.0.0:8080", "[::]:8080", "10.1.2.3:80"] {
            let refused = settle(&format!("--data /d --listen {address}"), "{}");
            assert!(matches!(refused, Err(ConfigError::Unprotected(_))), "{address}");
            let line = format!("--data /d --listen {address} --insecure-no-authentication");
            assert!(settle(&line, "{}").is_ok(), "{address}");
        }
        for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:8080"] {
            assert!(settle(&format!("--data /d --listen {address}"), "{}").is_ok(), "{address}");
        }
    }

    #[test]
    fn wrong_settings_are_refused_with_their_cure() {
        assert!(matches!(settle("", "{}"), Err(ConfigError::NoData)));
        for host in ["http://a", "a:80", "a/b", ""] {
            let arguments = Arguments { allow_hosts: vec![host.to_owned()], ..arguments("--data /d") };
            assert!(matches!(Config::settle(arguments, File::default()), Err(ConfigError::Host(_))), "{host}");
        }
        assert!(crate::definition::yaml::from_yaml::<File>("dataa: /d").is_err());
        for line in ["--event-window 25h", "--event-window=-1s", "--event-dedup 31d"] {
            let refused =
                Arguments::try_parse_from(["orchestrator", "--data", "/d"].into_iter().chain(line.split(' ')));
            let refused = refused.map(|arguments| Config::settle(arguments, File::default()));
            assert!(!matches!(refused, Ok(Ok(_))), "{line}");
        }
        for sink in ["ftp://a/", "http://a/#b", "mailto:a@b"] {
            assert!(
                matches!(settle(&format!("--data /d --event-sink {sink}"), "{}"), Err(ConfigError::Sink(_))),
                "{sink}"
            );
        }
    }

    #[test]
    fn events_are_kept_and_sent_as_asked() {
        let file = "data: /d\neventWindow: 5m\neventSinks: ['http://a.example/in']";
        let config = settle("--event-dedup PT48H", file).unwrap().events;
        assert_eq!((config.window, config.dedup), (SignedDuration::from_mins(5), SignedDuration::from_hours(48)));
        assert_eq!(config.sinks, ["http://a.example/in".parse().unwrap()]);
        let config = settle("--event-sink http://b.example --event-sink https://c.example", file).unwrap().events;
        assert_eq!(config.sinks.len(), 2, "arguments go before the file");
    }
}
