//! What it costs to know who asks, and to write down what was changed: an API token among ten thousand, and an entry of the
//! audit log in a store that is durable. Run it by `cargo run --release --example people_bench`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orchestrator_host::clock::SystemClock;
use orchestrator_host::identity::audit::Happened;
use orchestrator_host::identity::settings::{AuditSettings, IdentitySettings, Mode};
use orchestrator_host::identity::tokens::NewToken;
use orchestrator_host::identity::{Identity, IdentityKeys, Presented};
use orchestrator_host::journal::Journal;
use orchestrator_host::journal::memory::MemoryJournal;
use orchestrator_host::journal::sled::SledJournal;
use orchestrator_host::model::{Role, TenantName, TokenName};

const TENANTS: usize = 10;
const TOKENS: usize = 1_000;
const LOOKS: u32 = 200_000;
const ENTRIES: u32 = 2_000;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let identity = open(Arc::new(MemoryJournal::new()))?;
    let mut token = None;
    for tenant in 0..TENANTS {
        let tenant = TenantName::parse(&format!("t{tenant}"))?;
        identity.tenants.put(tenant.clone(), None, true).await?;
        for number in 0..TOKENS {
            token = Some(identity.tokens.create(new(&tenant, number)?).await?.1);
        }
    }
    let token = token.unwrap_or_default();
    told("an API token among 10,000", LOOKS, async || {
        for _ in 0..LOOKS {
            let known = identity.authenticate(Presented::Bearer(&token), HERE).await;
            assert!(known.is_ok(), "the token is good");
        }
        Ok(())
    })
    .await?;

    let folder = tempfile::tempdir()?;
    let identity = open(SledJournal::open(folder.path().join("journal"))?)?;
    told("a durable entry of the audit log, one after the other", ENTRIES / 10, async || {
        for number in 0..ENTRIES / 10 {
            identity.audit.add(happened(number)).await?;
        }
        Ok(())
    })
    .await?;
    told("a durable entry, 100 at once", ENTRIES, async || {
        for some in 0..ENTRIES / 100 {
            let adding: Vec<_> = (0..100).map(|number| identity.audit.add(happened(some * 100 + number))).collect();
            futures_util::future::try_join_all(adding).await?;
        }
        Ok(())
    })
    .await?;
    let start = Instant::now();
    let verdict = identity.audit.verify()?;
    println!("{:<55}{:>12.1?}", format!("verifying {} entries", verdict.entries), start.elapsed());
    Ok(())
}

fn open(journal: Arc<dyn Journal>) -> anyhow::Result<Arc<Identity>> {
    let audit = AuditSettings { enabled: true, entries: 1_000_000, days: 365 };
    let settings = IdentitySettings { authentication: Mode::Required, audit, ..IdentitySettings::default() };
    let keys = IdentityKeys { tokens: [1; 32], audit: [2; 32] };
    Ok(Identity::open(journal, Arc::new(SystemClock), &keys, settings)?)
}

fn new(tenant: &TenantName, number: usize) -> anyhow::Result<NewToken> {
    Ok(NewToken {
        name: TokenName::parse(&format!("token-{number}"))?,
        tenant: tenant.clone(),
        roles: BTreeSet::from([Role::Operator]),
        services: None,
        expires_at: None,
        created_by: None,
    })
}

fn happened(number: u32) -> Happened {
    Happened {
        subject: Some("token:ci".to_owned()),
        tenant: Some(TenantName::standard()),
        address: HERE,
        action: "start_instance".to_owned(),
        target: "/v1/instances".to_owned(),
        outcome: 201,
        request_id: format!("r-{number}"),
    }
}

async fn told(what: &str, times: u32, work: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let start = Instant::now();
    work().await?;
    let each: Duration = start.elapsed() / times;
    println!("{what:<55}{each:>12.1?}");
    Ok(())
}
