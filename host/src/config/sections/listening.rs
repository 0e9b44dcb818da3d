//! Where the server listens, and who may reach it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::setting::settings;
use crate::config::value::{Value, shortened};

settings! {
    /// Where the server listens, and who may reach it. Sockets that systemd hands over are taken as well.
    pub struct Listening titled "Listening" {
        /// An address to listen on; port 0 takes a free one; may be repeated [default: 127.0.0.1:8080, where nothing else
        /// is listened on]
        addresses as "listen": Vec<SocketAddr>,
        /// A unix socket to listen on, beside or instead of addresses. Who may open it counts as being on this machine.
        unix as "listenUnix": Option<PathBuf>,
        /// Who may open the unix socket, as an octal file mode.
        unix_mode as "unixMode": Mode = "0600",
        /// Another host name under which requests are answered while listening on loopback; may be repeated.
        allow_hosts as "allowHosts": Vec<HostName>,
        /// Listen beyond this machine although requests are not authenticated: whoever reaches the port may do everything.
        insecure_no_authentication as "insecureNoAuthentication": bool,
        /// Show the metrics to whoever reaches the server, and not only to callers on this machine and to those who may
        /// see the whole server.
        public_metrics as "publicMetrics": bool,
    }
}

const ADDRESS_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Listening {
    /// The addresses to listen on; the usual one where nothing else was asked for.
    pub fn addresses(&self, handed_over: bool) -> Vec<SocketAddr> {
        let usual = self.addresses.is_empty() && self.unix.is_none() && !handed_over;
        if usual { vec![ADDRESS_DEFAULT] } else { self.addresses.clone() }
    }
}

/// A file mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Value for Mode {
    const WORD: &'static str = "MODE";

    fn read(texts: &[&str]) -> Result<Self, String> {
        let text = String::read(texts)?;
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Self).ok_or_else(|| {
            format!("`{}` is no file mode: write for example 0660, in quotes in the file", shortened(&text))
        })
    }
}

/// A host name, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(pub String);

impl Value for HostName {
    const WORD: &'static str = "NAME";

    fn read(texts: &[&str]) -> Result<Self, String> {
        let text = String::read(texts)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if text.is_empty() || text.len() > 253 || !text.bytes().all(fits) {
            let text = shortened(&text);
            return Err(format!(
                "`{text}` is no host name: give one without scheme, port or path, such as `orchestrator.example`"
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}
