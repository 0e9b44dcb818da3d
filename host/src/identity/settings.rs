//! How people are known: the settings of it, settled and checked. Where they are read from is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde::Deserialize;
use url::Url;

use super::address::Network;
use super::jwt::Algorithm;
use crate::model::{Role, TenantName};

/// Entries of the audit log kept where nothing else is said.
const AUDIT_ENTRIES: u64 = 1_000_000;

/// Days for which entries of the audit log are kept where nothing else is said.
const AUDIT_DAYS: u32 = 365;

/// Fewer entries than this are no log.
const AUDIT_ENTRIES_MIN: u64 = 1_000;

/// The leeway for clocks that differ.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// No leeway is larger: it lengthens the life of every token.
const CLOCK_SKEW_MAX: SignedDuration = SignedDuration::from_mins(10);

/// How long an answer of Keystone is believed.
const KEYSTONE_CACHE: SignedDuration = SignedDuration::from_mins(5);

/// No answer of Keystone is believed longer: so long a revoked token may go on.
const KEYSTONE_CACHE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Whether requests are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each request proves who sends it.
    Required,
    /// Whoever reaches the server may do everything.
    None,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whether requests are authenticated; absent: it depends.
    pub authentication: Option<Mode>,
    /// The file that receives the first admin token.
    pub admin_token_file: Option<PathBuf>,
    /// The proxies whose word about addresses is believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether an audit log is written; absent: where requests are authenticated.
    pub audit: Option<bool>,
    /// Entries of the audit log, at most.
    pub audit_entries: u64,
    /// Days for which they are kept, at most.
    pub audit_days: u32,
    /// Issuers of bearer tokens.
    pub oidc: Vec<OidcSettings>,
    /// The Keystone whose tokens are accepted.
    pub keystone: Option<KeystoneSettings>,
}

/// How people are known, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Whether requests are authenticated.
    pub authentication: Mode,
    /// The file that receives the first admin token.
    pub admin_token_file: Option<PathBuf>,
    /// The proxies whose word about addresses is believed.
    pub trusted_proxies: Vec<Network>,
    /// The audit log.
    pub audit: AuditSettings,
    /// Issuers of bearer tokens.
    pub oidc: Vec<OidcSettings>,
    /// The Keystone whose tokens are accepted.
    pub keystone: Option<KeystoneSettings>,
}

/// What of the audit log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSettings {
    /// Whether one is written.
    pub enabled: bool,
    /// Entries, at most.
    pub entries: u64,
    /// Days, at most.
    pub days: u32,
}

/// An OIDC issuer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcSettings {
    /// The issuer as it stands in its tokens; its metadata is below `/.well-known/openid-configuration`.
    pub issuer: String,
    /// Whom its tokens must be for: one of these is in `aud`.
    pub audiences: BTreeSet<String>,
    /// The claim that says who it is.
    #[serde(default = "subject_claim")]
    pub subject_claim: String,
    /// The claim with roles: a name, or a JSON pointer such as `/realm_access/roles`.
    #[serde(default = "roles_claim")]
    pub roles_claim: String,
    /// What the values of that claim stand for.
    #[serde(default)]
    pub roles: BTreeMap<String, BTreeSet<Role>>,
    /// Roles of everybody with a token of this issuer.
    #[serde(default)]
    pub default_roles: BTreeSet<Role>,
    /// The claim that says the tenant: a name or a JSON pointer.
    pub tenant_claim: Option<String>,
    /// What the values of that claim stand for; others are no tenant of ours.
    #[serde(default)]
    pub tenants: BTreeMap<String, TenantName>,
    /// The tenant where no claim says one.
    pub tenant: Option<TenantName>,
    /// The signatures that are accepted.
    #[serde(default = "algorithms")]
    pub algorithms: BTreeSet<Algorithm>,
    /// The leeway for clocks that differ.
    #[serde(default = "clock_skew")]
    pub clock_skew: SignedDuration,
    /// A PEM file with the authorities of the issuer's own certificate; by default the common public ones.
    pub ca_certificates: Option<PathBuf>,
}

/// A Keystone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeystoneSettings {
    /// Its address with the version, `https://keystone.example/v3`.
    pub url: Url,
    /// The service user that validates tokens.
    pub user: String,
    /// Its domain.
    #[serde(default = "default_domain")]
    pub user_domain: String,
    /// The project it is scoped to.
    pub project: String,
    /// That project's domain.
    #[serde(default = "default_domain")]
    pub project_domain: String,
    /// A file with its password.
    pub password_file: PathBuf,
    /// What Keystone's roles stand for.
    pub roles: BTreeMap<String, BTreeSet<Role>>,
    /// What its projects, by identifier, stand for. Others stand for the tenant whose name is their identifier.
    #[serde(default)]
    pub projects: BTreeMap<String, TenantName>,
    /// How long its answers are believed.
    #[serde(default = "keystone_cache")]
    pub cache: SignedDuration,
    /// A PEM file with the authorities of its certificate; by default the common public ones.
    pub ca_certificates: Option<PathBuf>,
}

fn subject_claim() -> String {
    "sub".to_owned()
}

fn roles_claim() -> String {
    "roles".to_owned()
}

fn algorithms() -> BTreeSet<Algorithm> {
    Algorithm::ALL.into_iter().collect()
}

fn clock_skew() -> SignedDuration {
    CLOCK_SKEW
}

fn default_domain() -> String {
    "Default".to_owned()
}

fn keystone_cache() -> SignedDuration {
    KEYSTONE_CACHE
}

/// A setting's key, and what to write instead.
pub type Fault = (String, String);

fn wrong(key: impl Into<String>, reason: impl Into<String>) -> Fault {
    (key.into(), reason.into())
}

impl Default for IdentitySettings {
    /// Nobody is authenticated and nothing is audited: what development on one machine is served with.
    fn default() -> Self {
        Self {
            authentication: Mode::None,
            admin_token_file: None,
            trusted_proxies: Vec::new(),
            audit: AuditSettings { enabled: false, entries: AUDIT_ENTRIES, days: AUDIT_DAYS },
            oidc: Vec::new(),
            keystone: None,
        }
    }
}

impl IdentitySettings {
    /// Settles what was asked for. Where nobody says whether requests are authenticated, they are not while only this
    /// machine reaches the server and no issuer is set up.
    pub fn settle(asked: Asked, is_loopback: bool, is_insecure: bool) -> Self {
        let bare = asked.oidc.is_empty() && asked.keystone.is_none();
        let by_itself = if bare && (is_loopback || is_insecure) { Mode::None } else { Mode::Required };
        let authentication = asked.authentication.unwrap_or(by_itself);
        Self {
            authentication,
            admin_token_file: asked.admin_token_file,
            trusted_proxies: asked.trusted_proxies,
            audit: AuditSettings {
                enabled: asked.audit.unwrap_or(authentication == Mode::Required),
                entries: asked.audit_entries,
                days: asked.audit_days,
            },
            oidc: asked.oidc,
            keystone: asked.keystone,
        }
    }

    /// Everything that breaks a rule, by the key of its setting.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.audit.entries < AUDIT_ENTRIES_MIN {
            faults.push(wrong("audit.entries", format!("keep at least {AUDIT_ENTRIES_MIN} entries")));
        }
        if self.audit.days == 0 {
            faults.push(wrong("audit.days", "keep entries for at least 1 day"));
        }
        let mut issuers = BTreeSet::new();
        for (index, issuer) in self.oidc.iter().enumerate() {
            let at = |(member, reason): (&str, String)| wrong("oidc", format!("[{index}].{member}: {reason}"));
            faults.extend(issuer.check().err().map(at));
            if !issuers.insert(&issuer.issuer) {
                faults.push(at(("issuer", "name each issuer once".to_owned())));
            }
        }
        faults.extend(self.keystone.as_ref().and_then(|keystone| keystone.check().err()));
        faults
    }
}

impl OidcSettings {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let url = Url::parse(&self.issuer);
        let fits = |url: &Url| is_web(url) && url.query().is_none() && url.fragment().is_none();
        if !url.is_ok_and(|url| fits(&url)) {
            let reason =
                "give the URL that stands in `iss`, by https (http only on this machine), without query and fragment";
            return Err(("issuer", reason.to_owned()));
        }
        if self.audiences.is_empty() {
            let reason = "name at least one audience: tokens for other programs must not open this one";
            return Err(("audiences", reason.to_owned()));
        }
        if self.tenant_claim.is_none() && !self.tenants.is_empty() {
            return Err(("tenants", "give `tenantClaim` too: the claim whose values these are".to_owned()));
        }
        if self.algorithms.is_empty() {
            return Err(("algorithms", "accept at least one, or leave it out".to_owned()));
        }
        if self.clock_skew.is_negative() || self.clock_skew > CLOCK_SKEW_MAX {
            return Err(("clockSkew", format!("give at most {CLOCK_SKEW_MAX:#}")));
        }
        Ok(())
    }
}

impl KeystoneSettings {
    fn check(&self) -> Result<(), Fault> {
        if !is_web(&self.url) || !self.url.path().trim_end_matches('/').ends_with("/v3") {
            return Err(wrong(
                "keystone",
                "url: give its https address with the version, `https://keystone.example/v3`",
            ));
        }
        if self.roles.is_empty() {
            return Err(wrong("keystone", "roles: say what Keystone's roles stand for: `roles: {member: [operator]}`"));
        }
        if self.cache.is_negative() || self.cache > KEYSTONE_CACHE_MAX {
            return Err(wrong("keystone", format!("cache: give at most {KEYSTONE_CACHE_MAX:#}")));
        }
        Ok(())
    }
}

/// Plain http shows tokens and lets others answer; on this machine there is nobody else.
fn is_web(url: &Url) -> bool {
    let local = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && local)
}

/// The text of a PEM file.
///
/// # Errors
/// It cannot be read; the text says why.
pub(super) fn certificates(path: Option<&Path>) -> Result<Option<String>, String> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("read `{}`: {error}", path.display()));
    path.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        #[serde(default)]
        oidc: Vec<OidcSettings>,
        keystone: Option<KeystoneSettings>,
    }

    fn settle(mode: Option<Mode>, written: &str, is_loopback: bool, is_insecure: bool) -> IdentitySettings {
        let Written { oidc, keystone } = crate::definition::yaml::from_yaml(written).unwrap();
        let asked = Asked {
            authentication: mode,
            admin_token_file: None,
            trusted_proxies: Vec::new(),
            audit: None,
            audit_entries: AUDIT_ENTRIES,
            audit_days: AUDIT_DAYS,
            oidc,
            keystone,
        };
        IdentitySettings::settle(asked, is_loopback, is_insecure)
    }

    const ISSUER: &str = "oidc: [{issuer: 'https://issuer.example', audiences: [orchestrator]}]";

    #[test]
    fn nobody_is_let_in_unseen_unless_only_this_machine_reaches_the_server() {
        let mode = |mode, file, loopback, insecure| settle(mode, file, loopback, insecure).authentication;
        assert_eq!(mode(None, "{}", true, false), Mode::None);
        assert_eq!(mode(None, "{}", false, false), Mode::Required);
        assert_eq!(mode(None, "{}", false, true), Mode::None);
        assert_eq!(mode(None, ISSUER, true, false), Mode::Required);
        assert_eq!(mode(Some(Mode::Required), "{}", true, false), Mode::Required);
        assert_eq!(mode(Some(Mode::None), ISSUER, true, false), Mode::None);
        assert!(settle(None, "{}", false, false).audit.enabled);
        assert!(!settle(None, "{}", true, false).audit.enabled);
    }

    #[test]
    fn an_issuer_is_taken_with_its_defaults() {
        let issuer = settle(None, ISSUER, true, false).oidc.remove(0);
        assert_eq!((issuer.subject_claim.as_str(), issuer.roles_claim.as_str()), ("sub", "roles"));
        assert_eq!((issuer.clock_skew, issuer.algorithms.len()), (CLOCK_SKEW, Algorithm::ALL.len()));
        assert!(issuer.default_roles.is_empty() && issuer.tenant.is_none());
    }

    #[test]
    fn wrong_settings_are_refused_where_they_stand() {
        let check = |written: &str, key: &str, text: &str| {
            let faults = settle(None, written, true, false).faults();
            assert!(faults.iter().any(|(at, reason)| at == key && reason.contains(text)), "{written}: {faults:?}");
        };
        let issuer = |more: &str| format!("oidc: [{{issuer: 'https://issuer.example', audiences: [a], {more}}}]");
        check("oidc: [{issuer: 'http://issuer.example', audiences: [a]}]", "oidc", "[0].issuer: give");
        check("oidc: [{issuer: 'https://issuer.example/?a', audiences: [a]}]", "oidc", "[0].issuer");
        check("oidc: [{issuer: 'https://issuer.example', audiences: []}]", "oidc", "[0].audiences");
        check(&issuer("tenants: {a: acme}"), "oidc", "[0].tenants");
        check(&issuer("algorithms: []"), "oidc", "[0].algorithms");
        check(&issuer("clockSkew: 1h"), "oidc", "[0].clockSkew");
        let twice =
            "oidc: [{issuer: 'https://a.example', audiences: [a]}, {issuer: 'https://a.example', audiences: [b]}]";
        check(twice, "oidc", "[1].issuer: name each");
        let keystone = |url: &str, more: &str| {
            format!(
                "keystone: {{url: '{url}', user: u, project: p, passwordFile: /p, roles: {{member: [operator]}}{more}}}"
            )
        };
        check(&keystone("http://keystone.example/v3", ""), "keystone", "url:");
        check(&keystone("https://keystone.example", ""), "keystone", "url:");
        check(&keystone("https://keystone.example/v3", ", cache: 2h"), "keystone", "cache:");
        assert_eq!(settle(None, &keystone("http://127.0.0.1:5000/v3", ""), true, false).faults(), []);
        for bad in ["oidc: [{issuer: a, audiences: [a], algorithms: [HS256]}]", "oidc: [{issuer: a, audience: b}]"] {
            assert!(crate::definition::yaml::from_yaml::<Written>(bad).is_err(), "{bad}");
        }
        let few =
            IdentitySettings { audit: AuditSettings { enabled: true, entries: 10, days: 0 }, ..Default::default() };
        assert_eq!(few.faults().len(), 2);
    }
}
