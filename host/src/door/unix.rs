//! The unix socket: made with its mode from the first moment, taken over from a server that is gone, removed at the end.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub struct UnixSocket {
    /// What accepts.
    pub listener: UnixListener,
    path: PathBuf,
    /// Which file it was, so that another server's is never removed.
    identity: (u64, u64),
}

impl UnixSocket {
    /// Binds a socket that whom `mode` allows may open.
    ///
    /// The socket is bound under a name that nobody knows, given its mode there, and then moved: nobody can open it
    /// before the mode holds, and a socket that a dead server left is replaced at once.
    ///
    /// # Errors
    /// Another server answers there, something else than a socket is there, or the folder cannot be written.
    pub fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        free(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let private = tempfile::Builder::new().prefix(".orchestrator-").tempdir_in(folder)?;
        let unfinished = private.path().join("s");
        let listener = UnixListener::bind(&unfinished)?;
        std::fs::set_permissions(&unfinished, Permissions::from_mode(mode))?;
        std::fs::rename(&unfinished, path)?;
        let identity = identity(path)?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Nothing depends on it any more.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Whether the path may be taken: nothing is there, or a socket that nobody answers.
fn free(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "something else than a socket is there; remove it or name another path",
        ));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            Err(io::Error::new(ErrorKind::AddrInUse, "another server answers there; stop it or name another path"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_has_its_mode_and_goes_with_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.sock");
        let socket = UnixSocket::bind(&path, 0o640).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(UnixSocket::bind(&path, 0o600).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(socket);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_socket_that_nobody_answers_is_replaced_and_anything_else_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves its file");
        let socket = UnixSocket::bind(&path, 0o600).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(UnixSocket::bind(&path, 0o600).unwrap_err().kind(), ErrorKind::AlreadyExists);
        drop(socket);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine", "somebody else's file stays");
    }
}
