//! `orchctl profile`: the servers that this person works with, kept in the configuration file.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::Context;
use super::error::Error;
use super::output::{Column, Format};
use super::settings::{Configuration, Profile};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the profiles; the one in use is marked.
    #[command(after_help = "Example: orchctl profile list")]
    List,
    /// Use a profile from now on.
    #[command(after_help = "Example: orchctl profile use production")]
    Use {
        /// Its name.
        name: String,
    },
    /// Make a profile, or change what is given of one.
    #[command(after_help = "Examples:
  orchctl profile set production --address https://orchestrator.example --read-token < token.txt
  orchctl profile set production --token-command 'pass show orchestrator' --format json")]
    Set(Box<Set>),
    /// Show a profile; of a token only whether there is one.
    #[command(after_help = "Example: orchctl profile show production")]
    Show {
        /// Its name; by default the one in use.
        name: Option<String>,
    },
    /// Remove a profile.
    #[command(after_help = "Example: orchctl profile delete production")]
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Its name.
    name: String,
    /// The server's base URL.
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// Read the token from standard input, and keep it in the configuration file.
    #[arg(long, conflicts_with_all = ["token_from", "token_command"])]
    read_token: bool,
    /// A file that holds the token.
    #[arg(long, value_name = "FILE", conflicts_with = "token_command")]
    token_from: Option<PathBuf>,
    /// A command line that prints the token.
    #[arg(long, value_name = "COMMAND")]
    token_command: Option<String>,
    /// The tenant to act in.
    #[arg(long, value_name = "NAME")]
    act_in: Option<String>,
    /// A PEM file with the authorities to trust.
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// How results are printed.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Forget what is set under this name; several times for several.
    #[arg(long, value_name = "MEMBER", value_parser = ["address", "token", "act-in", "authorities", "format"])]
    unset: Vec<String>,
    /// Use it from now on.
    #[arg(long = "use")]
    in_use: bool,
}

const LIST: &[Column] =
    &[("NAME", &["/name"]), ("IN USE", &["/inUse"]), ("SERVER", &["/server"]), ("TENANT", &["/tenant"])];

const SHOW: &[Column] = &[
    ("Name", &["/name"]),
    ("In use", &["/inUse"]),
    ("Server", &["/server"]),
    ("Tenant", &["/tenant"]),
    ("Token", &["/token"]),
    ("Authorities", &["/caFile"]),
    ("Output", &["/output"]),
];

impl Command {
    pub(super) fn execute(&self, context: &Context) -> Result<(), Error> {
        let mut configuration = Configuration::read()?;
        match self {
            Self::List => {
                let views: Vec<_> = configuration.profiles.keys().map(|name| view(&configuration, name)).collect();
                context.output.list(&json!({ "items": views }), LIST)
            }
            Self::Show { name } => {
                let name = name.clone().or_else(|| configuration.profile.clone());
                let name = name.ok_or_else(|| Error::Usage("no profile is in use; name one".to_owned()))?;
                configuration.named(&name)?;
                context.output.thing(&view(&configuration, &name), SHOW)
            }
            Self::Use { name } => {
                configuration.named(name)?;
                configuration.profile = Some(name.clone());
                configuration.write()?;
                context.output.said(&format!("profile `{name}` is in use"), &json!({ "name": name }))
            }
            Self::Set(set) => set.execute(context, configuration),
            Self::Delete { name } => {
                configuration.named(name)?;
                configuration.profiles.remove(name);
                configuration.profile = configuration.profile.filter(|used| used != name);
                configuration.write()?;
                context.output.said(&format!("profile `{name}` is removed"), &json!({ "name": name }))
            }
        }
    }
}

/// A profile as it is shown: its token is not.
fn view(configuration: &Configuration, name: &str) -> Json {
    let profile = configuration.profiles.get(name).cloned().unwrap_or_default();
    let token = match &profile {
        Profile { token: Some(_), .. } => Some("kept in the configuration file".to_owned()),
        Profile { token_file: Some(path), .. } => Some(format!("in `{}`", path.display())),
        Profile { token_command: Some(command), .. } => Some(format!("printed by `{command}`")),
        _ => None,
    };
    let in_use = configuration.profile.as_deref() == Some(name);
    json!({
        "name": name, "inUse": if in_use { "yes" } else { "no" }, "server": profile.server, "tenant": profile.tenant,
        "token": token, "caFile": profile.ca_file, "output": profile.output,
    })
}

impl Set {
    fn execute(&self, context: &Context, mut configuration: Configuration) -> Result<(), Error> {
        let profile = configuration.profiles.entry(self.name.clone()).or_default();
        self.change(profile)?;
        if self.in_use || configuration.profiles.len() == 1 {
            configuration.profile = Some(self.name.clone());
        }
        let path = configuration.write()?;
        let said = format!("profile `{}` is stored in {}", self.name, path.display());
        context.output.said(&said, &view(&configuration, &self.name))
    }

    fn change(&self, profile: &mut Profile) -> Result<(), Error> {
        for member in &self.unset {
            match member.as_str() {
                "address" => profile.server = None,
                "act-in" => profile.tenant = None,
                "authorities" => profile.ca_file = None,
                "format" => profile.output = None,
                _ => (profile.token, profile.token_file, profile.token_command) = (None, None, None),
            }
        }
        if let Some(format) = &self.format {
            format.parse::<Format>().map_err(|reason| Error::Usage(format!("--format: {reason}")))?;
            profile.output = Some(format.clone());
        }
        if let Some(address) = &self.address {
            super::client::check_address(address)?;
            profile.server = Some(address.clone());
        }
        if self.read_token || self.token_from.is_some() || self.token_command.is_some() {
            profile.token = self.read_token.then(read_token).transpose()?;
            profile.token_file = self.token_from.as_ref().map(absolute).transpose()?;
            profile.token_command.clone_from(&self.token_command);
        }
        profile.tenant = self.act_in.clone().or(profile.tenant.take());
        profile.ca_file = self.authorities.as_ref().map(absolute).transpose()?.or(profile.ca_file.take());
        Ok(())
    }
}

/// Profiles are used from any folder.
fn absolute(path: &PathBuf) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| Error::Usage(format!("`{}`: {error}", path.display())))
}

fn read_token() -> Result<String, Error> {
    const BYTES_MAX: u64 = 16 << 10; // Longer ones do not fit into a header.
    let mut text = String::new();
    let read = std::io::stdin().lock().take(BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Error::Usage(format!("read the token from standard input: {error}")))?;
    let token = text.trim();
    match token.is_empty() || token.contains(char::is_whitespace) {
        true => Err(Error::Usage("standard input holds no token: it is one word".to_owned())),
        false => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        set: Set,
    }

    fn changed(mut profile: Profile, arguments: &str) -> Result<Profile, Error> {
        let line = Line::parse_from(["set", "p"].into_iter().chain(arguments.split_whitespace()));
        line.set.change(&mut profile).map(|()| profile)
    }

    #[test]
    fn what_is_given_is_changed_and_the_rest_stays() {
        let profile = changed(Profile::default(), "--address http://a --act-in t --token-from /x").unwrap();
        let profile = changed(profile, "--token-command show --format yaml").unwrap();
        assert_eq!((profile.server.as_deref(), profile.tenant.as_deref()), (Some("http://a"), Some("t")));
        assert_eq!((profile.token_file.clone(), profile.token_command.as_deref()), (None, Some("show")));
        let profile = changed(profile, "--unset token --unset act-in").unwrap();
        assert_eq!((profile.token_command, profile.tenant), (None, None));
    }

    #[test]
    fn what_cannot_be_used_is_not_kept() {
        for arguments in ["--address ftp://a", "--format xml"] {
            assert!(changed(Profile::default(), arguments).is_err(), "{arguments}");
        }
    }

    #[test]
    fn a_profile_is_shown_without_its_token() {
        let profile = Profile { token: Some("orc_secret".to_owned()), ..Profile::default() };
        let configuration = Configuration { profiles: [("p".to_owned(), profile)].into(), ..Configuration::default() };
        assert!(!view(&configuration, "p").to_string().contains("orc_secret"));
    }
}
