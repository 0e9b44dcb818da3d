//! The server's settings: arguments over environment over a YAML file over defaults, checked together. It opens nothing
//! but that file.
//!
//! **To add a setting**, add a field to a section in `sections/`: its flag, variable, key, help and reference follow.
//! **To add a section**, write `sections/<name>.rs` with `settings!` and name it in `sections!` below. Rules that concern
//! several settings stand in `Config::cross_check`. Then `UPDATE_SNAPSHOTS=1` writes `host/CONFIGURATION.md` anew.

mod answer;
pub mod command;
pub mod found;
mod inspection;
pub mod sections;
pub mod setting;
pub mod value;

use std::fmt;
use std::net::SocketAddr;

pub use answer::reference;
pub use command::{Invocation, Task, command};
pub use found::{Fault, Found, Origin, Sources};
pub use sections::general::LogFormat;
use sections::listening::Listening;
pub use setting::{Section, SectionTable, Setting};

use crate::door::listener::Plan;
use crate::identity::settings::{IdentitySettings, Mode};

/// Declares the sections that the settings consist of.
macro_rules! sections {
    ($($(#[doc = $about:literal])+ $field:ident: $type:ty),+ $(,)?) => {
        /// The server's settings, complete and checked.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config { $( $(#[doc = $about])+ pub $field: $type, )+ }

        /// All settings, in the order of the reference.
        pub const SECTIONS: &[SectionTable] = &[ $( SectionTable::of::<$type>() ),+ ];

        fn read(found: &mut Found) -> Option<Config> {
            $( let $field = <$type as Section>::read(found); )+
            Some(Config { $( $field: $field? ),+ })
        }
    };
}

sections! {
    /// Where state is kept, and the log.
    general: sections::general::General,
    /// Where the server listens.
    listening: sections::listening::Listening,
    /// How requests are taken.
    requests: sections::requests::Requests,
    /// How connections are encrypted.
    tls: sections::tls::Tls,
    /// Who may send requests.
    identity: sections::identity::Identity,
    /// How events are kept and where they go.
    events: sections::events::Events,
    /// How SODA's interface is mapped to workflows and tenants.
    soda: sections::soda::Soda,
}

/// Why the settings cannot be used: everything that is wrong with them.
#[derive(Debug)]
pub struct ConfigError {
    /// One for each thing that is wrong.
    pub faults: Vec<Fault>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("use the settings:")?;
        match self.faults.as_slice() {
            [fault] => write!(formatter, " {fault}"),
            faults => faults.iter().try_for_each(|fault| write!(formatter, "\n  {fault}")),
        }
    }
}

impl Config {
    /// Settles what was set.
    ///
    /// # Errors
    /// A setting is missing or not allowed; the error tells all of them.
    pub fn resolve(sources: &Sources) -> Result<Self, ConfigError> {
        let mut found = Found::collect(SECTIONS, sources);
        Self::settle(&mut found)
    }

    /// Settles what was found; keeps in `found` what is wrong.
    ///
    /// # Errors
    /// As [`Config::resolve`].
    pub fn settle(found: &mut Found) -> Result<Self, ConfigError> {
        let config = Self::read_checked(found);
        match config.filter(|_| found.faults().is_empty()) {
            Some(config) => Ok(config),
            None => Err(ConfigError { faults: found.faults().to_vec() }),
        }
    }

    /// The settings where each of them could be read, though rules between them may be broken.
    fn read_checked(found: &mut Found) -> Option<Self> {
        let config = read(found);
        if let Some(config) = &config {
            config.cross_check(found);
        }
        config
    }

    /// Where to listen; `handed_over` says that somebody else made sockets for this process.
    pub fn plan(&self, handed_over: bool) -> Plan {
        let Listening { unix, unix_mode, .. } = &self.listening;
        Plan {
            addresses: self.listening.addresses(handed_over),
            unix: unix.clone().map(|path| (path, unix_mode.0)),
            tls: self.tls.files(),
        }
    }

    /// Whether these addresses may be listened on.
    ///
    /// # Errors
    /// Others could reach the server through one of them.
    pub fn admit(&self, addresses: impl Iterator<Item = SocketAddr>) -> Result<(), ConfigError> {
        let refused = addresses.filter(|address| self.refuses(address));
        let fault =
            |address| Fault { origin: None, key: Some("authentication".to_owned()), message: unprotected(&address) };
        let faults: Vec<_> = refused.map(fault).collect();
        if faults.is_empty() { Ok(()) } else { Err(ConfigError { faults }) }
    }

    fn refuses(&self, address: &SocketAddr) -> bool {
        let unknown = self.identity().authentication == Mode::None;
        !address.ip().is_loopback() && unknown && !self.listening.insecure_no_authentication
    }

    /// How people are known.
    pub fn identity(&self) -> IdentitySettings {
        let Listening { addresses, insecure_no_authentication, .. } = &self.listening;
        let is_loopback = addresses.iter().all(|address| address.ip().is_loopback());
        self.identity.settings(is_loopback, *insecure_no_authentication)
    }

    /// Rules between settings.
    fn cross_check(&self, found: &mut Found) {
        let identity = self.identity();
        identity.faults().into_iter().for_each(|(key, reason)| found.fault(&key, reason));
        if let Some(address) = self.listening.addresses.iter().find(|address| self.refuses(address)) {
            found.fault("authentication", unprotected(address));
        }
        for (one, other) in
            [("tls.certificate", "tls.key"), ("tls.key", "tls.certificate"), ("tls.clientCa", "tls.certificate")]
        {
            if found.given(one).is_some() && found.given(other).is_none() {
                found.fault(one, format!("it is used only together with `{other}`: set that as well"));
            }
        }
    }
}

fn unprotected(address: &SocketAddr) -> String {
    format!(
        "requests are not to be authenticated, so whoever reaches {address} could run and change everything; set \
         `authentication: required`, listen on 127.0.0.1, or accept the risk with `--insecure-no-authentication`"
    )
}

#[cfg(test)]
mod tests;
