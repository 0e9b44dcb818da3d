//! Who asks: API tokens of this server, signed tokens of OIDC issuers, tokens of Keystone; the tenants; the audit log. It
//! finds out who somebody is and what she is to which tenant. What a request needs, and what is answered, is decided in
//! `api`.

pub mod address;
pub mod audit;
mod fetch;
pub mod first;
pub mod jwt;
mod keystone;
mod oidc;
pub mod settings;
pub mod tenants;
pub mod throttle;
pub mod token_text;
pub mod tokens;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::journal::{CommitError, Journal, StoreError};
use crate::model::{Principal, Role, TenantName, TokenName};
use audit::Audit;
use jwt::Unproved;
use keystone::Keystone;
use oidc::Issuer;
use settings::{IdentitySettings, Mode};
use tenants::Tenants;
use throttle::Throttle;
use tokens::{Found, Tokens};

/// Why something about people or tenants is not done.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It breaks a rule.
    #[error("{member}: {reason}")]
    Invalid {
        /// Which member.
        member: &'static str,
        /// What to write instead.
        reason: String,
    },
    /// There is a token of this name.
    #[error("there is a token `{0}` already; revoke it first or take another name")]
    TokenExists(TokenName),
    /// There is no such token.
    #[error("there is no token `{0}`; GET /v1/tokens lists them")]
    UnknownToken(TokenName),
    /// There is no such tenant.
    #[error("there is no tenant `{0}`; GET /v1/tenants lists them")]
    UnknownTenant(TenantName),
    /// Something still belongs to the tenant.
    #[error("the tenant `{0}` cannot be deleted: {1}")]
    TenantHeld(TenantName, String),
    /// There are as many as there may be.
    #[error("{0}")]
    TooMany(String),
    /// The file for the first admin token cannot be written.
    #[error("write the admin token into `{0}`")]
    TokenFile(PathBuf, #[source] std::io::Error),
    /// The settings cannot be used.
    #[error("set up authentication: {0}")]
    Settings(String),
    /// The store failed.
    #[error("keep it")]
    Store(#[source] CommitError),
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

fn invalid(member: &'static str, reason: impl Into<String>) -> IdentityError {
    IdentityError::Invalid { member, reason: reason.into() }
}

/// What a request has to prove who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented<'r> {
    /// Nothing.
    Nothing,
    /// `Authorization: Bearer`.
    Bearer(&'r str),
    /// `X-Auth-Token`.
    AuthToken(&'r str),
    /// Something that is not understood.
    Strange,
}

/// How somebody was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Not at all: the server authenticates nobody.
    None,
    /// By an API token.
    Token,
    /// By a signed token of an issuer.
    Oidc,
    /// By a token of Keystone.
    Keystone,
}

impl Means {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Oidc => "oidc",
            Self::Keystone => "keystone",
        }
    }
}

/// What somebody outside says about a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) subject: String,
    pub(crate) tenant: TenantName,
    pub(crate) roles: BTreeSet<Role>,
}

/// Why nobody is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The request proves nothing.
    Missing,
    /// What it has proves nothing; the text says why without repeating it.
    Invalid(String),
    /// The address has failed too often; the seconds to wait.
    TooOften(u32),
    /// Who would know cannot be asked.
    Unavailable(String),
    /// She is known, and not let in.
    Forbidden(String),
}

/// A person, known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who, in which tenant, with which roles.
    pub principal: Arc<Principal>,
    /// How she was known.
    pub means: Means,
}

/// Keys that this room needs, derived from the key file.
#[derive(Debug, Clone, Copy)]
pub struct IdentityKeys {
    /// For the digests of tokens.
    pub tokens: [u8; 32],
    /// For the signatures of the audit log.
    pub audit: [u8; 32],
}

/// Everything about who asks.
pub struct Identity {
    /// The tenants.
    pub tenants: Tenants,
    /// The API tokens.
    pub tokens: Tokens,
    /// The audit log.
    pub audit: Arc<Audit>,
    /// Failed attempts.
    pub throttle: Throttle,
    settings: IdentitySettings,
    issuers: Vec<Arc<Issuer>>,
    keystone: Option<Keystone>,
    clock: Arc<dyn Clock>,
}

impl Identity {
    /// Reads what is stored and sets up who is asked; nobody is asked yet.
    ///
    /// # Errors
    /// The store cannot be read, or certificates of the settings cannot be used.
    pub fn open(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        keys: &IdentityKeys,
        settings: IdentitySettings,
    ) -> Result<Arc<Self>, IdentityError> {
        let tenants = Tenants::open(journal.clone(), clock.clone())?;
        let tokens = Tokens::open(journal.clone(), clock.clone(), &keys.tokens)?;
        let audit = Arc::new(Audit::open(journal, clock.clone(), &keys.audit, settings.audit)?);
        let issuers = settings.oidc.iter().map(|issuer| Issuer::new(issuer.clone(), clock.clone()));
        let issuers = issuers.collect::<Result<_, _>>().map_err(IdentityError::Settings)?;
        let keystone = settings.keystone.clone().map(|keystone| Keystone::new(keystone, clock.clone()));
        let keystone = keystone.transpose().map_err(IdentityError::Settings)?;
        Ok(Arc::new(Self { tenants, tokens, audit, throttle: Throttle::default(), settings, issuers, keystone, clock }))
    }

    /// Whether requests are authenticated.
    pub fn is_required(&self) -> bool {
        self.settings.authentication == Mode::Required
    }

    /// Whether an audit log is written.
    pub fn is_audited(&self) -> bool {
        self.settings.audit.enabled
    }

    /// The client's address.
    pub fn address<'r>(&self, peer: Option<IpAddr>, forwarded: impl Iterator<Item = &'r str>) -> IpAddr {
        address::client(peer, forwarded, &self.settings.trusted_proxies)
    }

    /// The first admin token, where one is needed and there is none of any kind yet.
    ///
    /// # Errors
    /// Its file cannot be written, or the store failed.
    pub async fn first_admin_token(&self) -> Result<Option<Zeroizing<String>>, IdentityError> {
        if !self.is_required() || !self.tokens.list(None).is_empty() {
            return Ok(None);
        }
        first::make(&self.tokens, self.settings.admin_token_file.as_deref()).await.map(Some)
    }

    /// A new token `admin`, in place of the one there is.
    ///
    /// # Errors
    /// Its file cannot be written, or the store failed.
    pub async fn new_admin_token(&self) -> Result<Zeroizing<String>, IdentityError> {
        first::make(&self.tokens, self.settings.admin_token_file.as_deref()).await
    }

    /// Whether the first admin token goes into a file.
    pub fn admin_token_file(&self) -> Option<&std::path::Path> {
        self.settings.admin_token_file.as_deref()
    }

    /// Whether the refusal of somebody unknown still goes into the audit log: a flood of them is not.
    pub fn may_tell_of_stranger(&self) -> bool {
        self.throttle.may_be_told(self.clock.now())
    }

    /// The time.
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Who sends a request from this address, in her own tenant.
    ///
    /// # Errors
    /// Nobody who is let in.
    pub async fn authenticate(&self, presented: Presented<'_>, address: IpAddr) -> Result<Person, Refused> {
        let now = self.clock.now();
        let known = self.recognize(presented, address).await;
        if matches!(known, Err(Refused::Invalid(_))) {
            if let Some(seconds) = self.throttle.waits(address, now) {
                return Err(Refused::TooOften(seconds));
            }
            self.throttle.failed(address, now);
        }
        let person = known?;
        match self.tenants.is_enabled(&person.principal.tenant) {
            Some(true) => Ok(person),
            _ => Err(Refused::Forbidden("your tenant is not open; a server admin makes or enables it".to_owned())),
        }
    }

    async fn recognize(&self, presented: Presented<'_>, address: IpAddr) -> Result<Person, Refused> {
        let unknown = || Refused::Invalid("the token is not known: it was never made, or was revoked".to_owned());
        match presented {
            Presented::Nothing => Err(Refused::Missing),
            Presented::Strange => Err(Refused::Invalid("send `Authorization: Bearer TOKEN`, once".to_owned())),
            Presented::Bearer(text) | Presented::AuthToken(text) if text.starts_with(token_text::PREFIX) => {
                match self.tokens.find(text) {
                    Found::Good(principal) => Ok(Person { principal, means: Means::Token }),
                    Found::Expired => Err(Refused::Invalid("the token has ended; make a new one".to_owned())),
                    Found::Unknown => Err(unknown()),
                }
            }
            Presented::Bearer(text) if jwt::looks_like_one(text) && !self.issuers.is_empty() => {
                let token = Unproved::read(text).map_err(|reason| Refused::Invalid(reason.to_owned()))?;
                let issuer = token.issuer().and_then(|issuer| self.issuers.iter().find(|known| known.is(issuer)));
                let issuer =
                    issuer.ok_or_else(|| Refused::Invalid("the token's issuer is not known here".to_owned()))?;
                issuer.authenticate(token).await.map(|claimed| person(claimed, Means::Oidc))
            }
            Presented::AuthToken(text) => match &self.keystone {
                Some(keystone) => self.ask_keystone(keystone, text, address).await,
                None => Err(unknown()),
            },
            Presented::Bearer(_) => Err(unknown()),
        }
    }

    /// Keystone is not asked for an address that has failed too often.
    async fn ask_keystone(&self, keystone: &Keystone, text: &str, address: IpAddr) -> Result<Person, Refused> {
        if keystone.known(text).is_none()
            && let Some(seconds) = self.throttle.waits(address, self.clock.now())
        {
            return Err(Refused::TooOften(seconds));
        }
        keystone.authenticate(text).await.map(|claimed| person(claimed, Means::Keystone))
    }

    /// The tenant that a request names by a header or in its path: a name, or a project's identifier of Keystone.
    pub fn tenant_named(&self, text: &str) -> Option<TenantName> {
        let project = self.keystone.as_ref().and_then(|keystone| keystone.tenant_of(text)).cloned();
        project.or_else(|| TenantName::parse(text).ok())
    }

    /// The person in the tenant that the request names. Only a server admin may name another than her own; to everybody
    /// else a tenant that exists is refused like one that does not.
    ///
    /// # Errors
    /// It is not hers, or, for a server admin, there is none.
    pub fn in_tenant(&self, person: Person, named: &str) -> Result<Person, Refused> {
        let tenant = self.tenant_named(named);
        if tenant.as_ref() == Some(&person.principal.tenant) {
            return Ok(person);
        }
        if !person.principal.roles.contains(&Role::ServerAdmin) {
            return Err(Refused::Forbidden(
                "your token is for another tenant; only a server admin may choose one".to_owned(),
            ));
        }
        let open = |tenant: &TenantName| !self.is_required() || self.tenants.get(tenant).is_some();
        let Some(tenant) = tenant.filter(open) else {
            return Err(Refused::Forbidden("there is no such tenant; GET /v1/tenants lists them".to_owned()));
        };
        let principal = Principal { tenant, ..Principal::clone(&person.principal) };
        Ok(Person { principal: Arc::new(principal), ..person })
    }
}

fn person(claimed: Claimed, means: Means) -> Person {
    let Claimed { subject, tenant, roles } = claimed;
    Person { principal: Arc::new(Principal { subject, tenant, roles, services: None }), means }
}

#[cfg(test)]
mod tests;
