//! `orchctl secret`: values go in and never come out. They are not taken as arguments, which other users of the
//! machine can see, and are never printed.

use std::io::Read;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::Context;
use super::client::Page;
use super::error::Error;
use super::listing::Listing;
use super::output::Column;

/// Bytes of a secret, at most; what the server takes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Store a secret; its value is read from standard input or a file.
    #[command(after_help = "Examples:
  printf %s \"$TOKEN\" | orchctl secret set jira-token
  orchctl secret set signing-key --from-file key.pem")]
    Set {
        /// Its name.
        name: String,
        /// Read the value from this file, all of it; from standard input one final line end is left out.
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// List the names of the stored secrets.
    #[command(after_help = "Example: orchctl secret list")]
    List(Listing),
    /// Show that there is a secret, and which version of it; its value is never shown.
    #[command(after_help = "Example: orchctl secret show jira-token")]
    Show {
        /// Its name.
        name: String,
    },
    /// Remove a secret.
    #[command(after_help = "Example: orchctl secret delete jira-token")]
    Delete {
        /// Its name.
        name: String,
    },
}

const LIST: &[Column] = &[("NAME", &["/name", ""])];

const SHOW: &[Column] = &[("Name", &["/name"]), ("Version", &["/version"])];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::Set { name, from_file } => {
                let value = match from_file {
                    Some(path) => file(path)?,
                    None => without_line_end(text(std::io::stdin().lock(), "standard input")?),
                };
                if value.is_empty() {
                    return Err(Error::Usage(
                        "the secret's value is empty; give it on standard input or by --from-file".to_owned(),
                    ));
                }
                client.put(&["secrets", name], &json!({ "value": *value })).await?;
                context.output.said(&format!("secret `{name}` is stored"), &json!({ "name": name }))
            }
            Self::List(listing) => {
                let list = client.all(&["secrets"], &[], Page::WHOLE).await?;
                context.output.list(&listing.apply(list)?, LIST)
            }
            Self::Show { name } => context.output.thing(&client.get(&["secrets", name], &[]).await?, SHOW),
            Self::Delete { name } => {
                client.delete(&["secrets", name], &[]).await?;
                context.output.said(&format!("secret `{name}` is removed"), &json!({ "name": name }))
            }
        }
    }
}

fn file(path: &std::path::Path) -> Result<Zeroizing<String>, Error> {
    let shown = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|error| Error::Usage(format!("open `{shown}`: {error}")))?;
    text(file, &shown)
}

fn text(reader: impl Read, name: &str) -> Result<Zeroizing<String>, Error> {
    let mut text = Zeroizing::new(String::new());
    let read = reader.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|error| Error::Usage(format!("read the secret from `{name}`: {error}")))?;
    match read as u64 > SECRET_BYTES_MAX {
        true => Err(Error::Usage("a secret has at most 64 KiB".to_owned())),
        false => Ok(text),
    }
}

fn without_line_end(value: Zeroizing<String>) -> Zeroizing<String> {
    let cut = value.strip_suffix('\n').map(|cut| cut.strip_suffix('\r').unwrap_or(cut));
    cut.map(|cut| Zeroizing::new(cut.to_owned())).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_of_standard_input_is_left_out() {
        for (given, expected) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("\n", "")] {
            assert_eq!(*without_line_end(Zeroizing::new(given.to_owned())), expected, "{given:?}");
        }
    }

    #[test]
    fn too_long_a_secret_is_refused_without_being_shown() {
        let error = text(std::io::repeat(b'x'), "standard input").unwrap_err();
        assert!(matches!(error, Error::Usage(ref text) if !text.contains("xx")), "{error:?}");
    }
}
