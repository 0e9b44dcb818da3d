//! A migration whose server is killed (SIGKILL) again and again completes, with every object right and none written twice
//! but those that were on their way at a kill.

use std::time::Duration;

use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::migration::{DESTINATION, Mix, SERVICE, SOURCE, Scene, compare, fill};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

const KILLS: usize = 25;

/// The longest time a server runs before it is killed. The whole migration takes longer than all of them together only
/// on a fast machine; so the bucket is refilled below until every kill has hit a running instance.
const LIFE_MS_MAX: u64 = 350;

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_survives_kills_at_random_moments() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}: repeat with SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let binaries = Binaries::built().expect("the programs build");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut scene = Scene::start(&binaries, directory.path()).await.expect("the scene");

    let mut kills = 0;
    let mut ids: Vec<String> = Vec::new();
    for round in 0.. {
        let mix = Mix { small: 400, large: 3, first: 1000 * round, seed: seed.wrapping_add(round as u64) };
        fill(&scene.source.client(), SOURCE, mix).await.expect("filled");
        let key = format!("round-{round}");
        let ordered = scene.rest().order(SERVICE, Scene::order(true), &key).await.expect("ordered");
        let id = ordered["id"].as_str().expect("an id").to_owned();
        ids.push(id.clone());
        while kills < KILLS {
            // The moments of the kills are what is random here.
            tokio::time::sleep(Duration::from_millis(random.random_range(1..LIFE_MS_MAX))).await;
            if ended(&scene, &id).await {
                break;
            }
            scene.server.kill();
            kills += 1;
            scene.destination.clients_are_gone().await.expect("the S3 server is up");
            scene.server.start_again().await.expect("starts again on the same data");
            println!("kill {kills} in round {round}; ready again after {:?}", scene.server.ready_after);
        }
        let summary = scene.rest().ended(&id, Duration::from_secs(120)).await.expect("ends");
        assert_eq!(summary["status"], "completed", "seed {seed}: {summary}");
        if kills == KILLS {
            break;
        }
        assert!(round < 50, "seed {seed}: only {kills} kills hit a running instance in 50 rounds");
    }

    let (source, destination) = (scene.source.client(), scene.destination.client());
    let found = compare((&source, SOURCE), (&destination, DESTINATION)).await.expect("compared");
    assert_eq!(found.differences, Vec::<String>::new(), "seed {seed}");
    no_instance_is_lost(&scene, &ids).await;
    let late = check_writes(&scene, seed);
    println!("{kills} kills, {} instances, {} objects, {late} of them late", ids.len(), found.same);
}

async fn ended(scene: &Scene, id: &str) -> bool {
    let summary = scene.rest().get(&format!("/v1/instances/{id}")).await.expect("the instance is known");
    orchestrator_tests::client::is_final(&summary)
}

async fn no_instance_is_lost(scene: &Scene, ids: &[String]) {
    let listed = scene.rest().get("/v1/instances?limit=200").await.expect("listed");
    let listed: Vec<&Value> = listed["items"].as_array().expect("items").iter().collect();
    assert_eq!(listed.len(), ids.len(), "each order made one instance");
    for id in ids {
        assert!(listed.iter().any(|summary| summary["id"] == id.as_str() && summary["status"] == "completed"), "{id}");
    }
}

/// Each object was written once, and once more at most for each write that took effect after the server was killed. How
/// many such writes there were.
fn check_writes(scene: &Scene, seed: u64) -> u32 {
    let all = scene.destination.store.writes(DESTINATION);
    for (key, writes) in &all {
        let (written, allowed) = (writes.puts + writes.completes, 1 + writes.late);
        assert!(written <= allowed, "seed {seed}: `{key}` was written {written} times, {allowed} allowed");
    }
    // An upload whose identifier was on its way to the server when it was killed cannot be known to it.
    let dangling = scene.destination.store.dangling_uploads();
    assert!(dangling.len() <= KILLS, "seed {seed}: {dangling:?}");
    all.values().map(|writes| writes.late).sum()
}
