//! Which server, as whom, and how results are printed: by flags, else the environment, else the profile in use, else
//! the defaults. The configuration file is read here and nowhere else.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::client::DEFAULT_SERVER;
use super::error::Error;
use super::output::{Colour, Format, Output, aside};
use crate::definition::diagnostic::near;
use crate::definition::yaml;

/// Bytes of the configuration file, at most: thousands of profiles.
const CONFIGURATION_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a token, at most; longer ones do not fit into a header.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// The flags that all commands take.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The server's base URL, `http://HOST:PORT`, `https://…` or `unix:///PATH`.
    #[arg(long, global = true, env = "ORCHESTRATOR_SERVER", value_name = "URL")]
    server: Option<String>,
    /// The profile of the configuration file to use.
    #[arg(long, global = true, env = "ORCHESTRATOR_PROFILE", value_name = "NAME")]
    profile: Option<String>,
    /// The tenant to act in; only server admins may choose one.
    #[arg(long, global = true, env = "ORCHESTRATOR_TENANT", value_name = "NAME")]
    tenant: Option<String>,
    /// A file that holds the token; ORCHESTRATOR_TOKEN holds a token itself.
    #[arg(long, global = true, env = "ORCHESTRATOR_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with the authorities to trust instead of the public ones.
    #[arg(long, global = true, env = "ORCHESTRATOR_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Believe any certificate. Whoever is in between reads everything, also the token.
    #[arg(long, global = true)]
    insecure_skip_verify: bool,
    /// How results are printed: table, wide, json, yaml, name, csv, jsonpath=PATH [default: table]
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// When colours are used.
    #[arg(long, visible_alias = "colour", global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: Colour,
    /// Print names and identifiers only, and no progress.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Leave out the headings of tables.
    #[arg(long, global = true)]
    no_headers: bool,
}

/// The configuration file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Configuration {
    /// The server where the profile names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The profile in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The profiles by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Profile>,
}

/// One way to a server.
#[derive(Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Profile {
    /// The server's base URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A file that holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A command line that prints the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_command: Option<String>,
    /// The tenant to act in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The authorities to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How results are printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Profile").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What a client needs to know.
pub(super) struct Access {
    /// The server's base URL.
    pub server: String,
    /// Proves who asks.
    pub token: Option<Zeroizing<String>>,
    /// The tenant to act in.
    pub tenant: Option<String>,
    /// The PEM file of the authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// Whether any certificate is believed.
    pub skip_verify: bool,
}

impl Access {
    /// A server without anything else said.
    pub(super) fn to(server: &str) -> Self {
        Self { server: server.to_owned(), token: None, tenant: None, ca_file: None, skip_verify: false }
    }
}

/// Flags and profile put together.
#[derive(Debug)]
pub(super) struct Settings {
    flags: Flags,
    profile: Profile,
    server: Option<String>,
}

impl Settings {
    /// Reads the configuration file, if there is one.
    pub(super) fn read(flags: Flags) -> Result<Self, Error> {
        let configuration = Configuration::read()?;
        let profile = configuration.chosen(flags.profile.as_deref())?;
        Ok(Self { flags, profile, server: configuration.server })
    }

    /// How results are printed.
    pub(super) fn output(&self) -> Result<Output, Error> {
        let written =
            |text: &String| text.parse().map_err(|reason| Error::Usage(format!("`output` of the profile: {reason}")));
        let format = match (&self.flags.output, self.flags.quiet) {
            (Some(format), _) => Some(format.clone()),
            (None, true) => None,
            (None, false) => self.profile.output.as_ref().map(written).transpose()?,
        };
        Ok(Output::new(format, self.flags.color, !self.flags.no_headers, self.flags.quiet))
    }

    /// The tenant to act in, where one is named.
    pub(super) fn tenant(&self) -> Option<&str> {
        self.flags.tenant.as_deref().or(self.profile.tenant.as_deref())
    }

    /// What a client needs; the profile's command for a token is run here, and may ask.
    pub(super) fn access(&self) -> Result<Access, Error> {
        if self.flags.insecure_skip_verify {
            aside("warning: the server's certificate is not verified; whoever is in between reads everything");
        }
        self.access_with(Stdio::inherit)
    }

    /// What a client needs, without a word to anybody.
    pub(super) fn access_unattended(&self) -> Result<Access, Error> {
        self.access_with(Stdio::null)
    }

    /// The profile's command for a token gets `stdio` as its input and for its complaints.
    fn access_with(&self, stdio: fn() -> Stdio) -> Result<Access, Error> {
        let server = self.flags.server.as_ref().or(self.profile.server.as_ref()).or(self.server.as_ref());
        Ok(Access {
            server: server.map_or(DEFAULT_SERVER, String::as_str).to_owned(),
            token: self.token(stdio)?,
            tenant: self.tenant().map(str::to_owned),
            ca_file: self.flags.ca_file.clone().or_else(|| self.profile.ca_file.clone()),
            skip_verify: self.flags.insecure_skip_verify,
        })
    }

    fn token(&self, stdio: fn() -> Stdio) -> Result<Option<Zeroizing<String>>, Error> {
        if let Some(path) = &self.flags.token_file {
            return token_of_file(path).map(Some);
        }
        if let Some(token) = std::env::var("ORCHESTRATOR_TOKEN").ok().filter(|token| !token.is_empty()) {
            return token_of(token, "ORCHESTRATOR_TOKEN").map(Some);
        }
        // A token is for the server of its profile, and is not shown to another one.
        if self.flags.server.as_ref().is_some_and(|server| Some(server) != self.profile.server.as_ref()) {
            return Ok(None);
        }
        match &self.profile {
            Profile { token: Some(token), .. } => token_of(token.clone(), "the profile").map(Some),
            Profile { token_file: Some(path), .. } => token_of_file(path).map(Some),
            Profile { token_command: Some(command), .. } => token_of_command(command, stdio).map(Some),
            _ => Ok(None),
        }
    }
}

impl Configuration {
    /// The file, or nothing where there is none.
    pub(super) fn read() -> Result<Self, Error> {
        let Some(path) = Self::path() else { return Ok(Self::default()) };
        let wrong = |reason: String| Error::Usage(format!("read `{}`: {reason}", path.display()));
        let facts = match std::fs::metadata(&path) {
            Ok(facts) => facts,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        if facts.len() > CONFIGURATION_BYTES_MAX {
            return Err(wrong("it is larger than 1 MiB".to_owned()));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let configuration = Self::parse(&text).map_err(wrong)?;
        let holds_token = configuration.profiles.values().any(|profile| profile.token.is_some());
        if holds_token && facts.permissions().mode() & 0o077 != 0 {
            return Err(wrong(format!("it holds a token and others may read it; run `chmod 600 {}`", path.display())));
        }
        Ok(configuration)
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().is_empty() {
            true => Ok(Self::default()),
            false => yaml::from_yaml(text),
        }
    }

    /// Writes the file, whole or not at all, for its owner only.
    pub(super) fn write(&self) -> Result<PathBuf, Error> {
        let path = Self::path().ok_or_else(|| {
            Error::Usage("set HOME or XDG_CONFIG_HOME: there is no place for the configuration".to_owned())
        })?;
        let wrong = |error: &dyn std::fmt::Display| Error::Failed(format!("write `{}`: {error}", path.display()));
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| wrong(&error))?;
        let text = yaml::to_yaml(self).map_err(|error| wrong(&error))?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| wrong(&error))?;
        temporary.write_all(text.as_bytes()).map_err(|error| wrong(&error))?;
        temporary.persist(&path).map_err(|error| wrong(&error))?;
        Ok(path)
    }

    /// The profile that is used when this one is asked for.
    fn chosen(&self, asked: Option<&str>) -> Result<Profile, Error> {
        match asked.or(self.profile.as_deref()) {
            None => Ok(Profile::default()),
            Some(name) => self.named(name).cloned(),
        }
    }

    /// A profile, or what there is instead.
    pub(super) fn named(&self, name: &str) -> Result<&Profile, Error> {
        self.profiles.get(name).ok_or_else(|| {
            let known = self.profiles.keys().map(String::as_str);
            let cure = match near(name, known.clone()).first() {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.profiles.is_empty() => "make one with `orchctl profile set NAME --address URL`".to_owned(),
                None => format!("there is {}", known.collect::<Vec<_>>().join(", ")),
            };
            Error::Usage(format!("there is no profile `{name}`; {cure}"))
        })
    }

    fn path() -> Option<PathBuf> {
        let given = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        given.or_else(home).map(|folder| folder.join("orchestrator/config.yaml"))
    }
}

fn token_of(text: String, place: &str) -> Result<Zeroizing<String>, Error> {
    let text = Zeroizing::new(text);
    let token = Zeroizing::new(text.trim().to_owned());
    let plain =
        !token.is_empty() && token.len() as u64 <= TOKEN_BYTES_MAX && token.chars().all(|char| char.is_ascii_graphic());
    match plain {
        true => Ok(token),
        false => {
            Err(Error::Usage(format!("what {place} gives is no token: it is one word of visible ASCII characters")))
        }
    }
}

fn token_of_file(path: &Path) -> Result<Zeroizing<String>, Error> {
    let shown = path.display().to_string();
    let bytes = super::input::bytes_of(&shown, TOKEN_BYTES_MAX).map_err(Error::Usage)?;
    token_of(String::from_utf8_lossy(&bytes).into_owned(), &format!("`{shown}`"))
}

fn token_of_command(command: &str, stdio: fn() -> Stdio) -> Result<Zeroizing<String>, Error> {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(stdio())
        .stderr(stdio())
        .output()
        .map_err(|error| Error::Usage(format!("run the profile's token command: {error}")))?;
    match output.status.success() {
        true => token_of(String::from_utf8_lossy(&output.stdout).into_owned(), "the profile's token command"),
        false => Err(Error::Usage(format!("the profile's token command failed: {}", output.status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "server: http://a:1\nprofile: home\nprofiles:\n  home: { server: 'http://b:1', tenant: t }\n  work: { server: 'https://c', tokenFile: /t }\n";

    #[test]
    fn the_configuration_is_read_and_unknown_members_are_refused() {
        assert_eq!(Configuration::parse(""), Ok(Configuration::default()));
        let read = Configuration::parse("server: http://a:1\n").unwrap();
        assert_eq!(read.server.as_deref(), Some("http://a:1"));
        assert!(Configuration::parse("srever: http://a:1\n").is_err());
        assert!(Configuration::parse("profiles: { a: { tokn: x } }\n").is_err());
    }

    #[test]
    fn the_profile_in_use_is_the_one_asked_for_or_the_usual_one() {
        let configuration = Configuration::parse(TEXT).unwrap();
        assert_eq!(configuration.chosen(None).unwrap().tenant.as_deref(), Some("t"));
        assert_eq!(configuration.chosen(Some("work")).unwrap().server.as_deref(), Some("https://c"));
        let error = configuration.chosen(Some("wrk")).unwrap_err();
        assert!(matches!(&error, Error::Usage(text) if text.contains("did you mean `work`?")), "{error:?}");
    }

    #[test]
    fn a_token_is_one_visible_word() {
        assert_eq!(*token_of("orc_a\n".to_owned(), "x").unwrap(), "orc_a");
        for bad in ["", " \n", "a b", "ä"] {
            assert!(token_of(bad.to_owned(), "x").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_command_s_output_is_a_token() {
        assert_eq!(*token_of_command("echo orc_b", Stdio::null).unwrap(), "orc_b");
        assert!(token_of_command("exit 3", Stdio::null).is_err());
    }
}
