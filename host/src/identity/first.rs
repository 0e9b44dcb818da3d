//! The first admin token: made where authentication is on and there is no token yet, shown once; and made anew for who is
//! locked out.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::tokens::{NewToken, Tokens};
use super::{IdentityError, token_text};
use crate::model::{Role, TenantName, TokenName};

/// The name of the token.
pub const NAME: &str = "admin";

/// Makes the token, in place of an earlier one, and gives its text. Where a file is named, it is there with the token
/// before the token is good: a crash in between leaves a file that opens nothing, and the next start writes it anew.
pub(super) async fn make(tokens: &Tokens, file: Option<&Path>) -> Result<Zeroizing<String>, IdentityError> {
    let text = token_text::draw();
    if let Some(file) = file {
        write(file, &text).map_err(|error| IdentityError::TokenFile(file.to_owned(), error))?;
    }
    let new = NewToken {
        name: TokenName::parse(NAME).expect("it is a label"),
        tenant: TenantName::standard(),
        roles: BTreeSet::from([Role::ServerAdmin]),
        services: None,
        expires_at: None,
        created_by: None,
    };
    tokens.keep(new, &text, true).await?;
    Ok(text)
}

/// Writes a file that nobody else can read, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(format!("{text}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write(&path, "orc_a").unwrap();
        write(&path, "orc_b").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "orc_b\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
