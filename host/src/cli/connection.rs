//! `orchctl connection`: named ways to outside systems. Secrets are named in them, never written.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value as Json, json};

use super::Context;
use super::client::Page;
use super::error::Error;
use super::listing::Listing;
use super::output::Column;
use crate::definition::yaml;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make or replace a connection.
    #[command(after_help = "Examples:
  orchctl connection set jira --base-url https://jira.example --auth bearer --token jira-token
  orchctl connection set source --base-url http://127.0.0.1:9000 --auth aws-sigv4 \\
      --region us-east-1 --access-key-id AKID --secret-access-key source-key
  orchctl connection set hooks --base-url https://hooks.example/in --auth hmac --key hooks-key
  orchctl connection set post --base-url smtp://mail.example:587 --mail-from orchestrator@example.org \\
      --auth basic --username orchestrator --password mail-password
  orchctl connection set soda -f soda.yaml")]
    Set(Box<Set>),
    /// List the connections.
    #[command(after_help = "Example: orchctl connection list")]
    List(Listing),
    /// Show a connection.
    #[command(after_help = "Example: orchctl connection show jira")]
    Show {
        /// Its name.
        name: String,
    },
    /// Remove a connection.
    #[command(after_help = "Example: orchctl connection delete jira")]
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Its name.
    name: String,
    /// The declaration as YAML or JSON, with the members of the API; options go before it.
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The base URL; the targets of requests are appended to its path.
    #[arg(long, value_name = "URL", required_unless_present = "file")]
    base_url: Option<String>,
    /// How requests are authenticated [default: none]
    #[arg(long, value_enum, value_name = "SCHEME")]
    auth: Option<Scheme>,
    /// The user's name, for basic.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The NAME of the secret that holds the password, for basic.
    #[arg(long, value_name = "SECRET")]
    password: Option<String>,
    /// The NAME of the secret that holds the token, for bearer.
    #[arg(long, value_name = "SECRET")]
    token: Option<String>,
    /// The header's name, for header.
    #[arg(long, value_name = "NAME")]
    header: Option<String>,
    /// The NAME of the secret that holds the header's value, for header, or the end of the URL's path, for path.
    #[arg(long, value_name = "SECRET")]
    value: Option<String>,
    /// The NAME of the secret that holds the key, for hmac; --header names the header [default: X-Signature]
    #[arg(long, value_name = "SECRET")]
    key: Option<String>,
    /// The region, for aws-sigv4.
    #[arg(long)]
    region: Option<String>,
    /// The service that is signed for, for aws-sigv4 [default: s3]
    #[arg(long)]
    service: Option<String>,
    /// The access key's identifier, for aws-sigv4.
    #[arg(long, value_name = "ID")]
    access_key_id: Option<String>,
    /// The NAME of the secret that holds the secret access key, for aws-sigv4.
    #[arg(long, value_name = "SECRET")]
    secret_access_key: Option<String>,
    /// A PEM file that replaces the public roots.
    #[arg(long, value_name = "FILE")]
    ca_certificates: Option<PathBuf>,
    /// How long a request may take, milliseconds.
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// Exchanges under way at once.
    #[arg(long, value_name = "NUMBER")]
    exchanges_max: Option<u32>,
    /// The header that carries the idempotency key.
    #[arg(long, value_name = "NAME")]
    idempotency_header: Option<String>,
    /// The sender of mail; makes it a connection to a mail server, with a base URL `smtp://HOST:PORT`. The address book
    /// and the filter are written in a file (-f).
    #[arg(long, value_name = "ADDRESS")]
    mail_from: Option<String>,
    /// How mail is encrypted: starttls, implicit or none [default: starttls]
    #[arg(long, value_name = "HOW", value_parser = ["starttls", "implicit", "none"])]
    mail_tls: Option<String>,
    /// A domain that mail may go to; several times for several [default: all]
    #[arg(long, value_name = "DOMAIN")]
    mail_domain: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scheme {
    None,
    Basic,
    Bearer,
    Header,
    Hmac,
    Path,
    #[value(name = "aws-sigv4")]
    AwsSigV4,
}

const LIST: &[Column] = &[
    ("NAME", &["/name"]),
    ("BASE URL", &["/baseUrl", "/connection/baseUrl"]),
    ("AUTH", &["/authentication/scheme", "/connection/authentication/scheme"]),
];

const SHOW: &[Column] = &[
    ("Name", &["/name"]),
    ("Base URL", &["/baseUrl", "/connection/baseUrl"]),
    ("Authentication", &["/authentication", "/connection/authentication"]),
    ("Timeout (ms)", &["/timeoutMs", "/connection/timeoutMs"]),
    ("Response bytes max", &["/responseBytesMax", "/connection/responseBytesMax"]),
    ("Exchanges max", &["/exchangesMax", "/connection/exchangesMax"]),
    ("Idempotency header", &["/idempotencyHeader", "/connection/idempotencyHeader"]),
    ("Mail", &["/mail"]),
];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::Set(set) => {
                let answer = client.put(&["connections", &set.name], &set.declaration()?).await?;
                context.output.said(&format!("connection `{}` is stored", set.name), &answer)
            }
            Self::List(listing) => {
                let list = client.all(&["connections"], &[], Page::WHOLE).await?;
                context.output.list(&listing.apply(list)?, LIST)
            }
            Self::Show { name } => context.output.thing(&client.get(&["connections", name], &[]).await?, SHOW),
            Self::Delete { name } => {
                client.delete(&["connections", name], &[]).await?;
                context.output.said(&format!("connection `{name}` is removed"), &json!({ "name": name }))
            }
        }
    }
}

impl Set {
    fn declaration(&self) -> Result<Json, Error> {
        let mut declaration = match &self.file {
            Some(path) => from_file(path)?,
            None => json!({}),
        };
        let certificates = self.ca_certificates.as_ref().map(read).transpose()?;
        let members = [
            ("baseUrl", json!(self.base_url)),
            ("authentication", self.authentication()?),
            ("caCertificates", json!(certificates)),
            ("timeoutMs", json!(self.timeout_ms)),
            ("exchangesMax", json!(self.exchanges_max)),
            ("idempotencyHeader", json!(self.idempotency_header)),
        ];
        for (member, value) in members.into_iter().filter(|(_, value)| !value.is_null()) {
            declaration[member] = value;
        }
        let mail = [("from", json!(self.mail_from)), ("tls", json!(self.mail_tls))];
        let domains = (!self.mail_domain.is_empty()).then(|| ("recipientDomains", json!(self.mail_domain)));
        for (member, value) in mail.into_iter().chain(domains).filter(|(_, value)| !value.is_null()) {
            declaration["mail"][member] = value;
        }
        Ok(declaration)
    }

    /// The scheme's own options, all of them and no others.
    fn authentication(&self) -> Result<Json, Error> {
        let options = [
            ("username", "username", &self.username),
            ("password", "password", &self.password),
            ("token", "token", &self.token),
            (if self.auth == Some(Scheme::Hmac) { "header" } else { "name" }, "header", &self.header),
            ("key", "key", &self.key),
            ("value", "value", &self.value),
            ("region", "region", &self.region),
            ("service", "service", &self.service),
            ("accessKeyId", "access-key-id", &self.access_key_id),
            ("secretAccessKey", "secret-access-key", &self.secret_access_key),
        ];
        let (scheme, wanted): (&str, &[&str]) = match self.auth {
            Some(Scheme::Basic) => ("basic", &["username", "password"]),
            Some(Scheme::Bearer) => ("bearer", &["token"]),
            Some(Scheme::Header) => ("header", &["name", "value"]),
            Some(Scheme::Path) => ("path", &["value"]),
            Some(Scheme::Hmac) => ("hmac", &["key", "header"]),
            Some(Scheme::AwsSigV4) => ("aws-sig-v4", &["region", "service", "accessKeyId", "secretAccessKey"]),
            Some(Scheme::None) | None => ("none", &[]),
        };
        let mut authentication = json!({ "scheme": scheme });
        for (member, option, value) in options {
            match (value, wanted.contains(&member)) {
                (Some(value), true) => authentication[member] = json!(value),
                (Some(_), false) => return Err(Error::Usage(format!("--{option} does not go with --auth {scheme}"))),
                (None, true) if !matches!(member, "service" | "header") => {
                    return Err(Error::Usage(format!("--auth {scheme} needs --{option}")));
                }
                (None, _) => {}
            }
        }
        Ok(if self.auth.is_none() { Json::Null } else { authentication })
    }
}

fn read(path: &PathBuf) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| Error::Usage(format!("read `{}`: {error}", path.display())))
}

fn from_file(path: &PathBuf) -> Result<Json, Error> {
    let wrong = |reason: String| Error::Usage(format!("read `{}`: {reason}", path.display()));
    match yaml::from_yaml::<Json>(&read(path)?).map_err(wrong)? {
        declaration @ Json::Object(_) => Ok(declaration),
        _ => Err(wrong("a connection is a mapping; its members are those of the API".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::connection::declaration::Connection;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        set: Set,
    }

    fn declaration(arguments: &str) -> Result<Json, Error> {
        Line::try_parse_from(["set", "x"].into_iter().chain(arguments.split_whitespace())).unwrap().set.declaration()
    }

    #[test]
    fn every_scheme_makes_a_declaration_that_the_server_reads() {
        for arguments in [
            "--base-url http://a",
            "--base-url http://a --auth none --timeout-ms 5 --exchanges-max 3 --idempotency-header X-Key",
            "--base-url http://a --auth basic --username u --password p",
            "--base-url http://a --auth bearer --token t",
            "--base-url http://a --auth header --header X-Auth-Token --value v",
            "--base-url http://a --auth hmac --key k",
            "--base-url http://a --auth path --value v",
            "--base-url http://a --auth hmac --key k --header X-Hub-Signature",
            "--base-url smtp://a:25 --mail-from a@example.org --mail-tls none --mail-domain example.org",
            "--base-url http://a --auth aws-sigv4 --region r --access-key-id a --secret-access-key s",
            "--base-url http://a --auth aws-sigv4 --region r --service es --access-key-id a --secret-access-key s",
        ] {
            let declaration = declaration(arguments).unwrap();
            serde_json::from_value::<Connection>(declaration.clone())
                .unwrap_or_else(|error| panic!("{declaration}: {error}"));
        }
    }

    #[test]
    fn options_of_another_scheme_are_refused() {
        for arguments in ["--base-url http://a --token t", "--base-url http://a --auth basic --username u"] {
            assert_eq!(declaration(arguments).unwrap_err().exit_code(), 2, "{arguments}");
        }
        assert!(Line::try_parse_from(["set", "x"]).is_err());
    }
}
