//! The service `migration bucket by plan` on the real server against the double of a SODA multi-cloud service: the bucket
//! lies where it was ordered, the plan is gone whatever happens, and a lying job is found out.

use std::time::Duration;

use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::Rest;
use orchestrator_tests::multicloud::{Conduct, Fault, Multicloud, TOKEN, TOKEN_HEADER};
use orchestrator_tests::server::Server;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const SERVICE: &str = "migration bucket by plan";
const WITHIN: Duration = Duration::from_secs(60);

struct Scene {
    server: Server,
    service: Multicloud,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let binaries = Binaries::built().expect("the programs build");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let server = Server::start(&binaries, directory.path()).await.expect("the server starts");
        let rest = Rest::new(&server.url);
        rest.install(&binaries, &binaries.pack("bucket-migration").expect("the pack builds")).expect("installed");
        rest.put_secret("cloud-token", TOKEN).await.expect("the secret is stored");
        rest.put_secret("cloud-key", "s3-secret").await.expect("the secret is stored");
        let scene = Self { server, service: Multicloud::start().await, _directory: directory };
        scene.connect().await;
        scene
    }

    async fn connect(&self) {
        let rest = self.rest();
        let authentication = json!({ "scheme": "header", "name": TOKEN_HEADER, "value": "cloud-token" });
        let connection = json!({ "baseUrl": self.service.url, "authentication": authentication, "timeoutMs": 2_000 });
        rest.put("/v1/connections/cloud", connection).await.expect("the connection is stored");
        rest.put_s3_connection("cloud-s3", &self.service.s3_url, "s3-access", "cloud-key").await.expect("stored");
        let secrets = json!({ "backend-access-key": "cloud-key", "backend-secret-key": "cloud-key" });
        let connections = json!({ "multicloud": "cloud", "multicloud-s3": "cloud-s3" });
        let grants = json!({ "connections": connections, "secrets": secrets });
        rest.put("/v1/packs/bucket-migration/grants", grants).await.expect("granted");
        self.service.backend("east");
        self.service.backend("west");
        self.service.bucket("b1", "east", &[5, 0, 700, 3, 12]);
    }

    /// Another double in the place of the one before.
    async fn renew(&mut self) {
        self.service = Multicloud::start().await;
        self.connect().await;
    }

    fn rest(&self) -> Rest {
        Rest::new(&self.server.url)
    }

    async fn order(&self, more: Value, key: &str) -> String {
        let mut input =
            json!({ "name": "nightly", "sourceBucket": "b1", "destinationBucket": "b2", "pollSeconds": 0.01 });
        more.as_object().expect("an object").iter().for_each(|(name, value)| input[name] = value.clone());
        let key = key.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let ordered = self.rest().order(SERVICE, input, &key).await.expect("ordered");
        ordered["id"].as_str().expect("an id").to_owned()
    }

    async fn run(&self, more: Value, key: &str) -> Value {
        let id = self.order(more, key).await;
        self.rest().ended(&id, WITHIN).await.expect("it ends")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_moves_to_the_backend_that_was_ordered() {
    let scene = Scene::start().await;
    let summary = scene.run(json!({ "destBackend": "west", "remainSource": false }), "happy").await;
    assert_eq!(summary["status"], "completed", "{summary}");
    let output = &summary["output"];
    assert_eq!((&output["objects"], &output["bytes"], &output["passedCount"]), (&json!(5), &json!(720), &json!(5)));
    assert_eq!((&output["destinationBackend"], &output["destinationCreated"]), (&json!("west"), &json!(true)));
    assert_eq!(scene.service.look("b2"), Some(("west".to_owned(), 5)));
    assert_eq!(scene.service.look("b1"), Some(("east".to_owned(), 0)), "the source was not to remain");
    assert_eq!(scene.service.plans(), Vec::<String>::new());
    let id = summary["id"].as_str().expect("an id");
    for part in ["", "/tasks", "/history", "/logs"] {
        let told = scene.rest().get(&format!("/v1/instances/{id}{part}")).await.expect("told").to_string();
        assert!(!told.contains(TOKEN) && !told.contains("s3-secret"), "{part}: {told}");
    }
    // Ordered again under the same name: names of plans are unique in the service, orders' names need not be.
    scene.service.bucket("b1", "east", &[9]);
    let again = scene.run(json!({ "destinationBackend": "west" }), "again").await;
    assert_eq!(again["status"], "completed", "{again}");
    let elsewhere = scene.run(json!({ "destinationBackend": "east" }), "elsewhere").await;
    assert_eq!(elsewhere["error"]["status"], 409, "{elsewhere}");
    assert_eq!(scene.service.jobs_ever(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_job_does_the_plan_is_removed() {
    let mut scene = Scene::start().await;
    let cases = [
        (Conduct::Fails, "job-failed", "after 1 of 5 objects"),
        (Conduct::CopiesNothing, "verification-failed", "says it succeeded"),
        (Conduct::Stuck, "timeout", "goes on"),
    ];
    for (conduct, kind, said) in cases {
        scene.renew().await;
        scene.service.bucket("b2", "east", &[]);
        scene.service.next_job(conduct);
        let summary = scene.run(json!({ "deadlineMinutes": 0.05 }), kind).await;
        assert_eq!(summary["status"], "faulted", "{summary}");
        assert!(summary["error"]["type"].as_str().is_some_and(|found| found.ends_with(kind)), "{summary}");
        assert!(summary["error"]["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{summary}");
        assert_eq!(scene.service.plans(), Vec::<String>::new(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_trouble_is_asked_again_and_runs_one_job() {
    let mut scene = Scene::start().await;
    let requests = [
        ("GET", "/backends"),
        ("GET", "/b1"),
        ("PUT", "/b2"),
        ("POST", "/plans"),
        ("POST", "/plans/"),
        ("GET", "/jobs"),
        ("GET", "/jobs/"),
        ("DELETE", "/plans"),
    ];
    for (method, path) in requests {
        for (how, fault) in [("500", Fault::status(method, path, 500)), ("broken", Fault::broken(method, path))] {
            for fault in [fault.clone(), fault.after_effect()] {
                scene.renew().await;
                let story = format!("{method} {path} {how} {fault:?}");
                scene.service.fault(fault);
                let summary = scene.run(json!({ "destinationBackend": "west" }), &story).await;
                assert_eq!(summary["status"], "completed", "{story}: {summary}");
                assert_eq!((scene.service.jobs_ever(), scene.service.plans().len()), (1, 0), "{story}");
                assert_eq!(scene.service.look("b2"), Some(("west".to_owned(), 5)), "{story}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_random_moments_runs_one_job() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}: repeat with SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut scene = Scene::start().await;
    for round in 0..3 {
        scene.renew().await;
        let id = scene.order(json!({ "destinationBackend": "west" }), &format!("round-{round}")).await;
        for _ in 0..3 {
            // The moments of the kills are what is random here.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..80))).await;
            scene.server.kill();
            scene.server.start_again().await.expect("starts again on the same data");
        }
        let summary = scene.rest().ended(&id, WITHIN).await.expect("it ends");
        assert_eq!(summary["status"], "completed", "seed {seed}, round {round}: {summary}");
        assert_eq!((scene.service.jobs_ever(), scene.service.plans().len()), (1, 0), "seed {seed}, round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_cancelled_anywhere_leaves_neither_plan_nor_empty_bucket() {
    let mut scene = Scene::start().await;
    let places = [
        ("GET", "/b1", false),
        ("PUT", "/b2", false),
        ("PUT", "/b2", true),
        ("POST", "/plans", false),
        ("POST", "/plans", true),
        ("POST", "/plans/", true),
        ("GET", "/jobs/", false),
        ("DELETE", "/plans/", false),
    ];
    for (method, path, after_effect) in places {
        scene.renew().await;
        let story = format!("{method} {path}, after its effect: {after_effect}");
        let fault = Fault::hanging(method, path);
        scene.service.fault(if after_effect { fault.after_effect() } else { fault });
        let id = scene.order(json!({ "destinationBackend": "west", "settleSeconds": 0.1 }), &story).await;
        while scene.service.requests_to(method, path).is_empty() {
            tokio::task::yield_now().await;
        }
        let cleaned = scene.rest().cancelled(&id, "remove-plan", WITHIN).await.expect("it cleans up");
        assert_eq!(cleaned["status"], "completed", "{story}: {cleaned}");
        assert_eq!(scene.service.plans(), Vec::<String>::new(), "{story}");
        // A job that has copied something is not undone.
        let left = scene.service.look("b2").map(|(_, objects)| objects);
        assert_eq!(left, (method == "DELETE").then_some(5), "{story}: {cleaned}");
        let told = cleaned["output"]["result"]["message"].to_string();
        assert_eq!(told.contains("stays: it has objects"), method == "DELETE", "{story}: {told}");
    }
    // A bucket that was there is nobody's to remove, however empty it is.
    scene.renew().await;
    scene.service.bucket("b2", "west", &[]);
    scene.service.fault(Fault::hanging("POST", "/plans"));
    let id = scene.order(json!({ "destinationBackend": "west", "settleSeconds": 0.1 }), "found").await;
    while scene.service.requests_to("POST", "/plans").is_empty() {
        tokio::task::yield_now().await;
    }
    scene.rest().cancelled(&id, "remove-plan", WITHIN).await.expect("it cleans up");
    assert_eq!(scene.service.look("b2"), Some(("west".to_owned(), 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_order_takes_the_empty_bucket_back_that_it_made() {
    let scene = Scene::start().await;
    scene.service.next_job(Conduct::Stuck);
    let order = json!({ "destinationBackend": "west", "deadlineMinutes": 0.02 });
    let summary = scene.run(order, "stuck").await;
    assert_eq!(summary["status"], "faulted", "{summary}");
    assert_eq!((scene.service.look("b2"), scene.service.plans().len()), (None, 0));
}
