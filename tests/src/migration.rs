//! The scene of a bucket migration: two S3 servers and ours, the pack installed and granted, a bucket of mixed objects,
//! and the comparison afterwards. The demo, the crash test and the comparison with rclone play on it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::{Value, json};

use crate::binaries::Binaries;
use crate::client::Rest;
use crate::s3::{S3Client, S3Server};
use crate::server::Server;

/// The bucket that is migrated.
pub const SOURCE: &str = "photos-and-papers";
/// The bucket it is migrated to.
pub const DESTINATION: &str = "new-home";
/// The service that is ordered.
pub const SERVICE: &str = "migration bucket";
/// The service that makes a bucket like another.
pub const SYNC: &str = "sync bucket";

const MIB: usize = 1024 * 1024;

/// Requests of the harness under way at once.
const AT_ONCE: usize = 8;

/// Everything that plays a part.
pub struct Scene {
    /// Our server.
    pub server: Server,
    /// The S3 server that objects are read from.
    pub source: S3Server,
    /// The S3 server that objects are written to.
    pub destination: S3Server,
}

impl Scene {
    /// Starts the three servers below `directory`, installs the pack, stores secrets, makes connections and grants them.
    ///
    /// # Errors
    /// When any of that fails.
    pub async fn start(binaries: &Binaries, directory: &Path) -> anyhow::Result<Self> {
        let source = S3Server::start(&directory.join("source"), "source-access", "source-secret").await?;
        let destination = S3Server::start(&directory.join("destination"), "target-access", "target-secret").await?;
        source.client().create_bucket(SOURCE).await?;
        destination.client().create_bucket(DESTINATION).await?;
        let server = Server::start(binaries, directory).await?;
        let scene = Self { server, source, destination };
        scene.install(binaries).await?;
        Ok(scene)
    }

    async fn install(&self, binaries: &Binaries) -> anyhow::Result<()> {
        let rest = self.rest();
        rest.install(binaries, &binaries.pack("bucket-migration")?)?;
        for (name, server) in [("old-s3", &self.source), ("new-s3", &self.destination)] {
            let secret = format!("{name}-key");
            rest.put_secret(&secret, &server.secret).await?;
            rest.put_s3_connection(name, &server.url, &server.access, &secret).await?;
        }
        let grants = json!({ "connections": { "source": "old-s3", "destination": "new-s3" } });
        rest.put("/v1/packs/bucket-migration/grants", grants).await.context("grant the connections")?;
        Ok(())
    }

    /// A client of our server where it listens now.
    pub fn rest(&self) -> Rest {
        Rest::new(&self.server.url)
    }

    /// What is ordered.
    pub fn order(remain_source: bool) -> Value {
        json!({ "sourceBucket": SOURCE, "destinationBucket": DESTINATION, "remainSource": remain_source })
    }
}

/// How much a bucket holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Objects.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Which objects to make.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Objects of up to 64 KiB, one in twelve of up to 2 MiB.
    pub small: usize,
    /// Objects of 17 to 30 MiB; every other one is uploaded in parts.
    pub large: usize,
    /// The first number in the objects' names: fills with other numbers have other names.
    pub first: usize,
    /// Chooses names, sizes and content; the same number gives the same bucket.
    pub seed: u64,
}

/// Fills a bucket; what is in it then.
///
/// # Errors
/// When the server refuses an object.
pub async fn fill(client: &S3Client, bucket: &str, mix: Mix) -> anyhow::Result<Totals> {
    let mut random = StdRng::seed_from_u64(mix.seed);
    let mut plans: Vec<(String, usize, bool, u64)> = Vec::new();
    for number in 0..mix.small {
        let most = if number % 12 == 5 { 2 * MIB } else { 64 * 1024 };
        let size = if number % 40 == 3 { 0 } else { random.random_range(1..most) };
        plans.push((name(mix.first + number, &mut random), size, false, random.random()));
    }
    for number in 0..mix.large {
        let size = random.random_range(17 * MIB..30 * MIB);
        let film = mix.first + number;
        plans.push((format!("large files/film {film} + subtitles.mkv"), size, number % 2 == 0, random.random()));
    }
    let totals = Totals { objects: plans.len(), bytes: plans.iter().map(|plan| plan.1 as u64).sum() };
    stream::iter(plans.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |(key, size, in_parts, seed)| async move {
            let headers = [("content-type", "application/x-demo"), ("x-amz-meta-origin", "the old house")];
            let body = content(size, seed);
            match in_parts {
                true => client.put_in_parts(bucket, &key, &headers, body, 8 * MIB).await,
                false => client.put(bucket, &key, &headers, body).await,
            }
        })
        .await?;
    Ok(totals)
}

/// Bytes that no two objects share.
pub fn content(size: usize, seed: u64) -> Bytes {
    let mut body = vec![0; size];
    StdRng::seed_from_u64(seed).fill_bytes(&mut body);
    body.into()
}

/// Names with everything that has to be encoded somewhere on the way.
fn name(number: usize, random: &mut StdRng) -> String {
    let folders =
        ["photos/summer 2024", "papers/Zürich", "100% sure", "a+b=c", "日本語/写真", "emoji 🎉", "quotes '\"&<>", ""];
    let folder = folders[random.random_range(0..folders.len())];
    let name = format!("{number:05}{}.dat", ["", " copy", "+x", "%20", "#1", "?", "~", "é", "=&", "@,;:"][number % 10]);
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

/// What is different between two buckets.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// What the source has.
    pub source: Totals,
    /// What the destination has.
    pub destination: Totals,
    /// Objects with equal length, SHA-256, type and metadata.
    pub same: usize,
    /// What is wrong, one line each.
    pub differences: Vec<String>,
}

/// Compares two buckets object by object: count, lengths, SHA-256, content type and metadata.
///
/// # Errors
/// When one of them cannot be read.
pub async fn compare(source: (&S3Client, &str), destination: (&S3Client, &str)) -> anyhow::Result<Comparison> {
    let (from, to) = (digests(source.0, source.1).await?, digests(destination.0, destination.1).await?);
    let totals = |all: &BTreeMap<String, Digested>| Totals {
        objects: all.len(),
        bytes: all.values().map(|digested| digested.size).sum(),
    };
    let mut found = Comparison { source: totals(&from), destination: totals(&to), ..Comparison::default() };
    for (key, original) in &from {
        match to.get(key) {
            None => found.differences.push(format!("missing: {key}")),
            Some(copy) if copy != original => found.differences.push(format!("differs: {key}: {original:?} {copy:?}")),
            Some(_) => found.same += 1,
        }
    }
    found.differences.extend(to.keys().filter(|key| !from.contains_key(*key)).map(|key| format!("too much: {key}")));
    Ok(found)
}

/// What has to be equal in a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digested {
    /// Length in bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Content type and own metadata, in order.
    pub headers: Vec<(String, String)>,
}

/// Reads every object of a bucket.
///
/// # Errors
/// When one cannot be read.
pub async fn digests(client: &S3Client, bucket: &str) -> anyhow::Result<BTreeMap<String, Digested>> {
    let listed = client.list(bucket, "").await?;
    stream::iter(listed)
        .map(|object| async move {
            let (size, sha256) = client.digest(bucket, &object.key).await?;
            let head = client.head(bucket, &object.key).await?;
            let mut headers: Vec<(String, String)> = head
                .iter()
                .filter(|(name, _)| name.as_str() == "content-type" || name.as_str().starts_with("x-amz-meta-"))
                .filter(|(name, _)| !name.as_str().starts_with("x-amz-meta-orchestrator-"))
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            headers.sort();
            anyhow::Ok((object.key, Digested { size, sha256, headers }))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
