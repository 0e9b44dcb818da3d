//! Who may send requests, and what is kept about them.

use std::path::PathBuf;

use crate::config::setting::settings;
use crate::config::value::{Structured, Value, choice, shortened};
use crate::identity::address::Network;
use crate::identity::settings::{Asked, IdentitySettings, KeystoneSettings, Mode, OidcSettings};

settings! {
    /// Who may send requests. People and programs prove who they are by an API token of this server, a signed token of an
    /// OIDC issuer, or a token of Keystone.
    pub struct Identity titled "People" {
        /// Whether requests are authenticated, `required` or `none` [default: none while only this machine reaches the
        /// server and neither `oidc` nor `keystone` is set, else required]
        authentication as "authentication": Option<Mode>,
        /// A file that receives the first admin token, readable by this user alone. Without it the token is shown once on
        /// standard output.
        admin_token_file as "adminTokenFile": Option<PathBuf>,
        /// A proxy whose `X-Forwarded-For` is believed, as an address or a range such as `10.0.0.0/8`; may be repeated.
        trusted_proxies as "trustedProxy": Vec<Network>,
        /// Whether an audit log of changes and refusals is written [default: where requests are authenticated]
        audit as "audit.enabled": Option<bool>,
        /// Entries of the audit log that are kept, at most.
        audit_entries as "audit.entries": u64 = "1000000",
        /// Days for which entries of the audit log are kept, at most.
        audit_days as "audit.days": u32 = "365",
        /// Issuers whose bearer tokens are accepted: a list of `issuer`, `audiences`, `rolesClaim`, `roles` (a claim's
        /// value to a list of roles), `defaultRoles`, `tenantClaim`, `tenants` (a claim's value to a tenant), `tenant`,
        /// `subjectClaim`, `algorithms`, `clockSkew`, `caCertificates`.
        oidc as "oidc": Structured<Vec<OidcSettings>>,
        /// A Keystone whose tokens are accepted in `X-Auth-Token`: `url`, `user`, `userDomain`, `project`,
        /// `projectDomain`, `passwordFile`, `roles` (Keystone's to a list of ours), `projects` (an identifier to a
        /// tenant), `cache`, `caCertificates`.
        keystone as "keystone": Structured<Option<KeystoneSettings>>,
    }
}

impl Identity {
    /// The settings of the room, for a server that listens so.
    pub fn settings(&self, is_loopback: bool, is_insecure: bool) -> IdentitySettings {
        let asked = Asked {
            authentication: self.authentication,
            admin_token_file: self.admin_token_file.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            audit: self.audit,
            audit_entries: self.audit_entries,
            audit_days: self.audit_days,
            oidc: self.oidc.0.clone(),
            keystone: self.keystone.0.clone(),
        };
        IdentitySettings::settle(asked, is_loopback, is_insecure)
    }
}

impl Value for Mode {
    const WORD: &'static str = "required|none";

    fn read(texts: &[&str]) -> Result<Self, String> {
        choice(texts, &[("required", Self::Required), ("none", Self::None)])
    }
}

impl Value for Network {
    const WORD: &'static str = "NETWORK";

    fn read(texts: &[&str]) -> Result<Self, String> {
        let text = texts.first().copied().unwrap_or_default();
        text.parse()
            .map_err(|_| format!("`{}` is neither an address nor a range such as `10.0.0.0/8`", shortened(text)))
    }
}
