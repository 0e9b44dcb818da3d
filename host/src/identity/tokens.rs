//! API tokens. A token itself is kept nowhere: rows and memory have its SHA-256 keyed by the key file, so that neither a
//! copy of the store alone nor a look into it opens anything. All are in memory: a request costs one look into a table.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{IdentityError, invalid, token_text};
use crate::clock::Clock;
use crate::journal::{Batch, Expectation, Journal, Scan, StoreError, keys, row};
use crate::model::{Principal, Role, ServiceName, TenantName, TokenName};

/// Tokens of a tenant, at most.
pub const TOKENS_OF_TENANT_MAX: usize = 1_000;

/// Tokens, at most: all are in memory, with some hundred bytes each.
pub const TOKENS_MAX: usize = 20_000;

/// Services that a token may be held to, at most.
const SERVICES_MAX: usize = 200;

/// When a token was used last is written at most so often.
const USE_WRITTEN_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// A token, without the token itself; the stored row (key `I`, `k`) has its digest too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Its name within its tenant.
    pub name: TokenName,
    /// The tenant it acts in; with the role `server-admin` it may choose others.
    pub tenant: TenantName,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// The only services it may see and order; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeSet<ServiceName>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it; absent: the server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    token: Token,
    /// HMAC-SHA256 of the token, hexadecimal.
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct Use {
    at: Timestamp,
}

/// A token with when it was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenView {
    /// The token.
    pub token: Token,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// What a token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its name.
    pub name: TokenName,
    /// Its tenant.
    pub tenant: TenantName,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// The only services it may see and order.
    pub services: Option<BTreeSet<ServiceName>>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Who makes it.
    pub created_by: Option<String>,
}

/// A token found by its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is good for this principal.
    Good(Arc<Principal>),
    /// It has ended.
    Expired,
    /// There is none.
    Unknown,
}

struct Live {
    token: Token,
    digest: [u8; 32],
    principal: Arc<Principal>,
    /// Milliseconds; 0: never.
    used: AtomicI64,
    written: AtomicI64,
}

#[derive(Default)]
struct Table {
    by_digest: HashMap<[u8; 32], Arc<Live>>,
    by_name: BTreeMap<(TenantName, TokenName), Arc<Live>>,
}

/// The tokens.
pub struct Tokens {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    key: hmac::Key,
    table: RwLock<Table>,
    /// Held over a change.
    changing: Mutex<()>,
}

impl Tokens {
    pub(super) fn open(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, key: &[u8; 32]) -> Result<Self, StoreError> {
        let mut table = Table::default();
        for row in journal.scan(Scan::prefix(keys::tokens(), 2 * TOKENS_MAX))? {
            let Row { token, digest } = row::decode(&row.value)?;
            let mut bytes = [0; 32];
            hex::decode_to_slice(&digest, &mut bytes).map_err(|_| StoreError("read a token: no digest".to_owned()))?;
            let used = journal.get(&keys::token_use(&token.tenant, &token.name))?;
            let used = used.map(|used| row::decode::<Use>(&used)).transpose()?;
            table.insert(Live::new(token, bytes, used.map_or(0, |used| used.at.as_millisecond())));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Ok(Self { journal, clock, key, table: RwLock::new(table), changing: Mutex::default() })
    }

    fn digest(&self, text: &str) -> [u8; 32] {
        hmac::sign(&self.key, text.as_bytes()).as_ref().try_into().expect("an HMAC-SHA-256 has 32 bytes")
    }

    /// Looks a token up, and notes that it was used. The look goes by a keyed digest, so that how long it takes tells
    /// nothing about tokens that exist.
    pub fn find(&self, text: &str) -> Found {
        if !token_text::is_whole(text) {
            return Found::Unknown;
        }
        let digest = self.digest(text);
        let live = self.table.read().unwrap_or_else(PoisonError::into_inner).by_digest.get(&digest).cloned();
        let Some(live) = live else { return Found::Unknown };
        let now = self.clock.now();
        if live.is_over(now) {
            return Found::Expired;
        }
        self.note(&live, now);
        Found::Good(live.principal.clone())
    }

    fn note(&self, live: &Live, now: Timestamp) {
        let (now_ms, every) = (now.as_millisecond(), USE_WRITTEN_EVERY.as_millis() as i64);
        live.used.store(now_ms, Ordering::Relaxed);
        let written = live.written.load(Ordering::Relaxed);
        let taken = || live.written.compare_exchange(written, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if now_ms - written >= every && taken() {
            let Token { tenant, name, .. } = &live.token;
            let batch = Batch::default()
                .expect(Expectation::Present(keys::token(tenant, name)))
                .put(keys::token_use(tenant, name), row::encode(&Use { at: now }));
            // Nothing waits for it: a lost note is made good by the next use.
            drop(self.journal.commit(batch));
        }
    }

    /// A tenant's tokens by name, or all of the server's.
    pub fn list(&self, tenant: Option<&TenantName>) -> Vec<TokenView> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let those = table.by_name.iter().filter(|((of, _), _)| tenant.is_none_or(|tenant| tenant == of));
        those.map(|(_, live)| live.view()).collect()
    }

    /// One of a tenant's.
    pub fn get(&self, tenant: &TenantName, name: &TokenName) -> Option<TokenView> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.by_name.get(&(tenant.clone(), name.clone())).map(|live| live.view())
    }

    /// Makes a token and gives its text, which cannot be had again. Durable on return.
    ///
    /// # Errors
    /// It breaks a rule, one of its name exists, there are too many, or the store failed.
    pub async fn create(&self, new: NewToken) -> Result<(TokenView, Zeroizing<String>), IdentityError> {
        let text = token_text::draw();
        let view = self.keep(new, &text, false).await?;
        Ok((view, text))
    }

    /// Keeps a token of this text; one of the same name goes where `replacing`.
    pub(super) async fn keep(&self, new: NewToken, text: &str, replacing: bool) -> Result<TokenView, IdentityError> {
        let now = self.clock.now();
        check(&new, now)?;
        let _changing = self.changing.lock().await;
        if !replacing {
            self.has_place(&new)?;
        }
        let token = Token {
            name: new.name,
            tenant: new.tenant,
            roles: new.roles,
            services: new.services,
            created_at: now,
            created_by: new.created_by,
            expires_at: new.expires_at,
        };
        let digest = self.digest(text);
        let row = row::encode(&Row { token: token.clone(), digest: hex::encode(digest) });
        let batch = Batch::default()
            .put(keys::token(&token.tenant, &token.name), row)
            .delete(keys::token_use(&token.tenant, &token.name));
        self.journal.commit(batch).await.map_err(IdentityError::Store)?;
        let live = Live::new(token, digest, 0);
        let view = live.view();
        self.table.write().unwrap_or_else(PoisonError::into_inner).insert(live);
        Ok(view)
    }

    fn has_place(&self, new: &NewToken) -> Result<(), IdentityError> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if table.by_name.contains_key(&(new.tenant.clone(), new.name.clone())) {
            return Err(IdentityError::TokenExists(new.name.clone()));
        }
        let of_tenant = table.by_name.keys().filter(|(tenant, _)| *tenant == new.tenant).count();
        match (of_tenant >= TOKENS_OF_TENANT_MAX, table.by_name.len() >= TOKENS_MAX) {
            (true, _) => Err(IdentityError::TooMany(format!(
                "the tenant has {TOKENS_OF_TENANT_MAX} tokens, as many as it may have; revoke those that nobody uses"
            ))),
            (_, true) => {
                Err(IdentityError::TooMany(format!("the server has {TOKENS_MAX} tokens, as many as it may have")))
            }
            _ => Ok(()),
        }
    }

    /// Revokes a token: no request passes with it any more. Durable on return.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn revoke(&self, tenant: &TenantName, name: &TokenName) -> Result<(), IdentityError> {
        let _changing = self.changing.lock().await;
        if self.get(tenant, name).is_none() {
            return Err(IdentityError::UnknownToken(name.clone()));
        }
        let batch = Batch::default().delete(keys::token(tenant, name)).delete(keys::token_use(tenant, name));
        self.journal.commit(batch).await.map_err(IdentityError::Store)?;
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&(tenant.clone(), name.clone()));
        Ok(())
    }
}

impl Table {
    fn insert(&mut self, live: Live) {
        let (key, live) = ((live.token.tenant.clone(), live.token.name.clone()), Arc::new(live));
        if let Some(earlier) = self.by_name.insert(key, live.clone()) {
            self.by_digest.remove(&earlier.digest);
        }
        self.by_digest.insert(live.digest, live);
    }

    fn remove(&mut self, key: &(TenantName, TokenName)) {
        if let Some(live) = self.by_name.remove(key) {
            self.by_digest.remove(&live.digest);
        }
    }
}

impl Live {
    fn new(token: Token, digest: [u8; 32], used: i64) -> Self {
        let principal = Arc::new(Principal {
            subject: subject(&token.tenant, &token.name),
            tenant: token.tenant.clone(),
            roles: token.roles.clone(),
            services: token.services.clone(),
        });
        Self { token, digest, principal, used: AtomicI64::new(used), written: AtomicI64::new(used) }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.token.expires_at.is_some_and(|end| now >= end)
    }

    fn view(&self) -> TokenView {
        let used = Some(self.used.load(Ordering::Relaxed)).filter(|used| *used != 0);
        let last_used_at = used.and_then(|used| Timestamp::from_millisecond(used).ok());
        TokenView { token: self.token.clone(), last_used_at }
    }
}

/// Who a token is: `token:ci`, outside of the tenant `default` `token:acme/ci`. A token that takes the place of a revoked
/// one of its name is the same subject, so that replacing a token leaves its instances where they are.
fn subject(tenant: &TenantName, name: &TokenName) -> String {
    match tenant.is_standard() {
        true => format!("token:{name}"),
        false => format!("token:{tenant}/{name}"),
    }
}

fn check(new: &NewToken, now: Timestamp) -> Result<(), IdentityError> {
    if new.roles.is_empty() {
        let roles = Role::ALL.map(|role| format!("`{role}`")).join(", ");
        return Err(invalid("roles", format!("give at least one of {roles}")));
    }
    if new.services.as_ref().is_some_and(|services| services.is_empty() || services.len() > SERVICES_MAX) {
        return Err(invalid("services", format!("name 1 to {SERVICES_MAX} services, or leave it out for all")));
    }
    match new.expires_at {
        Some(end) if end <= now => Err(invalid("expiresAt", "give a time to come")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use crate::journal::memory::MemoryJournal;

    fn new(name: &str, tenant: &str) -> NewToken {
        NewToken {
            name: TokenName::parse(name).unwrap(),
            tenant: TenantName::parse(tenant).unwrap(),
            roles: BTreeSet::from([Role::Operator]),
            services: None,
            expires_at: None,
            created_by: Some("token:admin".to_owned()),
        }
    }

    struct Bench {
        journal: Arc<MemoryJournal>,
        clock: SimClock,
    }

    impl Bench {
        fn new() -> Self {
            let now = Timestamp::from_second(1_800_000_000).unwrap();
            Self { journal: Arc::new(MemoryJournal::new()), clock: SimClock::new(now) }
        }

        fn open(&self) -> Tokens {
            Tokens::open(self.journal.clone(), Arc::new(self.clock.clone()), &[7; 32]).unwrap()
        }
    }

    fn is_good(found: Found) -> bool {
        matches!(found, Found::Good(_))
    }

    #[tokio::test]
    async fn a_token_opens_until_it_is_revoked_also_after_a_restart_and_is_written_nowhere() {
        let bench = Bench::new();
        let (view, text) = bench.open().create(new("ci", "acme")).await.unwrap();
        let again = bench.open();
        let Found::Good(principal) = again.find(&text) else { panic!("it is not found") };
        assert_eq!((principal.subject.as_str(), principal.tenant.as_str()), ("token:acme/ci", "acme"));
        for row in bench.journal.scan(Scan::prefix(Vec::new(), 100)).unwrap() {
            let stored = String::from_utf8_lossy(&row.value).into_owned();
            assert!(!stored.contains(&text[4..40]), "{stored}");
        }
        again.revoke(&view.token.tenant, &view.token.name).await.unwrap();
        assert_eq!(again.find(&text), Found::Unknown);
        assert_eq!(bench.open().find(&text), Found::Unknown);
        assert!(matches!(
            again.revoke(&view.token.tenant, &view.token.name).await,
            Err(IdentityError::UnknownToken(_))
        ));
    }

    #[tokio::test]
    async fn a_token_of_another_key_file_opens_nothing() {
        let bench = Bench::new();
        let (_, text) = bench.open().create(new("ci", "default")).await.unwrap();
        let other = Tokens::open(bench.journal.clone(), Arc::new(bench.clock.clone()), &[8; 32]).unwrap();
        assert_eq!(other.find(&text), Found::Unknown);
    }

    #[tokio::test]
    async fn a_token_ends_when_its_time_is_over() {
        let bench = Bench::new();
        let tokens = bench.open();
        let end = bench.clock.now() + SignedDuration::from_hours(1);
        let (_, text) = tokens.create(NewToken { expires_at: Some(end), ..new("ci", "default") }).await.unwrap();
        bench.clock.advance(SignedDuration::from_secs(3_599));
        assert!(is_good(tokens.find(&text)));
        bench.clock.advance(SignedDuration::from_secs(1));
        assert_eq!(tokens.find(&text), Found::Expired);
        let past = NewToken { expires_at: Some(end), ..new("late", "default") };
        assert!(matches!(tokens.create(past).await, Err(IdentityError::Invalid { member: "expiresAt", .. })));
    }

    #[tokio::test]
    async fn its_use_is_written_at_most_once_a_minute_and_survives() {
        let bench = Bench::new();
        let tokens = bench.open();
        let (view, text) = tokens.create(new("ci", "default")).await.unwrap();
        assert_eq!(view.last_used_at, None);
        let before = bench.journal.counters().commits;
        (0..100).for_each(|_| assert!(is_good(tokens.find(&text))));
        assert_eq!(bench.journal.counters().commits, before + 1);
        bench.clock.advance(SignedDuration::from_secs(59));
        assert!(is_good(tokens.find(&text)));
        assert_eq!(bench.journal.counters().commits, before + 1);
        bench.clock.advance(SignedDuration::from_secs(1));
        assert!(is_good(tokens.find(&text)));
        assert_eq!(bench.journal.counters().commits, before + 2);
        assert_eq!(bench.open().list(None)[0].last_used_at, Some(bench.clock.now()));
    }

    #[tokio::test]
    async fn names_are_a_tenant_s_own_and_what_breaks_the_rules_is_refused() {
        let bench = Bench::new();
        let tokens = bench.open();
        tokens.create(new("ci", "acme")).await.unwrap();
        tokens.create(new("ci", "umbrella")).await.unwrap();
        assert!(matches!(tokens.create(new("ci", "acme")).await, Err(IdentityError::TokenExists(_))));
        assert_eq!(tokens.list(Some(&TenantName::parse("acme").unwrap())).len(), 1);
        let nothing = NewToken { roles: BTreeSet::new(), ..new("a", "acme") };
        assert!(matches!(tokens.create(nothing).await, Err(IdentityError::Invalid { member: "roles", .. })));
        let none = NewToken { services: Some(BTreeSet::new()), ..new("a", "acme") };
        assert!(matches!(tokens.create(none).await, Err(IdentityError::Invalid { member: "services", .. })));
    }

    #[test]
    fn a_stored_token_is_still_read() {
        let stored = br#"{"name":"ci","tenant":"default","roles":["operator","tenant-admin"],"services":["a b"],
            "createdAt":"2026-11-21T22:00:00Z","createdBy":"token:admin","digest":"00"}"#;
        let row: Row = row::decode(&[&[1][..], stored].concat()).unwrap();
        assert_eq!(row.token.roles, BTreeSet::from([Role::Operator, Role::TenantAdmin]));
        assert_eq!((row.token.expires_at, row.digest.as_str()), (None, "00"));
    }
}
