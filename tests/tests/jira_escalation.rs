//! The ticket escalation on the real server against doubles of Jira and of a cluster: every way a ticket can end, by
//! webhook and by looking; whatever fails leaves the outside clean; neither a lost answer nor a killed server opens a
//! second ticket.

use std::time::Duration;

use orchestrator_tests::binaries::{Binaries, root};
use orchestrator_tests::client::Rest;
use orchestrator_tests::jira::{ADDRESS, Delivery, Fault, Flavour, Issue, Jira, Proof, Site, TOKEN, Trouble, USER};
use orchestrator_tests::kubernetes::{self, Cluster, Kubernetes};
use orchestrator_tests::server::Server;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const SERVICE: &str = "ticket escalation";
const WEBHOOK_SECRET: &str = "webhook-secret-77";
const WITHIN: Duration = Duration::from_secs(60);

/// The server with the pack granted to doubles.
struct Scene {
    server: Server,
    jira: Jira,
    cluster: Kubernetes,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start(flavour: Flavour) -> Self {
        let binaries = Binaries::built().expect("the programs build");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let server = Server::start(&binaries, directory.path()).await.expect("the server starts");
        let rest = Rest::new(&server.url);
        let stand_in = root().join("tests/fixtures/notification-pack");
        binaries.run(&["pack", "build", &stand_in.to_string_lossy()]).expect("the stand-in builds");
        rest.install(&binaries, &stand_in).expect("the stand-in installs");
        rest.install(&binaries, &binaries.pack("jira-escalation").expect("the pack builds"))
            .expect("the pack installs");
        rest.put_secret("jira-token", TOKEN).await.expect("stored");
        rest.put_secret("cluster-token", kubernetes::TOKEN).await.expect("stored");
        rest.put_secret("jira-webhook", WEBHOOK_SECRET).await.expect("stored");
        let (jira, cluster) = doubles(flavour).await;
        let scene = Self { server, jira, cluster, _directory: directory };
        scene.connect(flavour).await;
        scene
    }

    /// Points the connections at the doubles and grants them.
    async fn connect(&self, flavour: Flavour) {
        let rest = self.rest();
        let authentication = match flavour {
            Flavour::Server => json!({ "scheme": "bearer", "token": "jira-token" }),
            _ => json!({ "scheme": "basic", "username": USER, "password": "jira-token" }),
        };
        let jira = json!({ "baseUrl": self.jira.url, "authentication": authentication, "timeoutMs": 700 });
        rest.put("/v1/connections/our-jira", jira).await.expect("stored");
        let authentication = json!({ "scheme": "bearer", "token": "cluster-token" });
        let cluster = json!({ "baseUrl": self.cluster.url, "authentication": authentication, "timeoutMs": 700 });
        rest.put("/v1/connections/our-cluster", cluster).await.expect("stored");
        let grants = json!({ "connections": { "jira": "our-jira", "cluster": "our-cluster" } });
        rest.put("/v1/packs/jira-escalation/grants", grants).await.expect("granted");
    }

    /// Other doubles in the place of those before, with nothing in them.
    async fn renew(&mut self, flavour: Flavour) {
        (self.jira, self.cluster) = doubles(flavour).await;
        self.connect(flavour).await;
    }

    fn rest(&self) -> Rest {
        Rest::new(&self.server.url)
    }

    async fn order(&self, namespace: &str, more: Value) -> String {
        let mut input = json!({
            "namespace": namespace, "project": "OPS", "levels": [], "pollSeconds": 0.05, "pollMaxSeconds": 0.2,
            "settleSeconds": 0.5, "closingMinutes": 0.2,
        });
        for (name, value) in more.as_object().expect("an object") {
            input[name] = value.clone();
        }
        let key = format!("{namespace}-{}", rand::random::<u64>());
        let ordered = self.rest().order(SERVICE, input, &key).await.expect("ordered");
        ordered["id"].as_str().expect("an id").to_owned()
    }

    async fn ended(&self, id: &str) -> Value {
        self.rest().ended(id, WITHIN).await.expect("it ends")
    }

    /// The ticket of an instance, once there is one.
    async fn ticket(&self, id: &str) -> Issue {
        let label = format!("workflowInstanceId={id}");
        until(|| {
            self.jira.world(|site| site.issues.iter().find(|issue| issue.labels().contains(&label.as_str())).cloned())
        })
        .await
    }

    /// A person closes the ticket of an instance; the webhook that follows.
    async fn decide(&self, id: &str, resolution: &str) -> Delivery {
        let key = self.ticket(id).await.key;
        self.jira.world(|site| site.decide(&key, resolution))
    }

    async fn deliver(&self, delivery: &Delivery, proof: Proof<'_>) -> (u16, Value) {
        delivery.send(&self.server.url, proof).await.expect("answered")
    }

    /// Neither a secret nor an address of a connection is in anything that the server tells about the instance.
    async fn nothing_tells_a_secret(&self, id: &str) {
        let addresses = [&self.jira.url, &self.cluster.url].map(|url| url.replace("http://", ""));
        let mut told = std::fs::read_to_string(self.server.log()).expect("the server logs");
        for part in ["", "/tasks", "/history", "/logs"] {
            told += &self.rest().get(&format!("/v1/instances/{id}{part}")).await.expect("it is told").to_string();
        }
        for secret in [TOKEN, kubernetes::TOKEN, WEBHOOK_SECRET, &addresses[0], &addresses[1]] {
            assert!(!told.contains(secret), "{secret} is told");
        }
    }
}

async fn doubles(flavour: Flavour) -> (Jira, Kubernetes) {
    (Jira::start(Site::new(flavour)).await, Kubernetes::start(Cluster::default()).await)
}

/// Looks again and again, without a pause that somebody would have to choose.
async fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let seen = async {
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, seen).await.expect("it is seen in time")
}

fn texts(issue: &Issue) -> Vec<String> {
    issue.comments.iter().map(|comment| comment.text().trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_ends_as_people_decide_on_every_kind_of_jira() {
    let mut scene = Scene::start(Flavour::Cloud).await;
    for flavour in [Flavour::Cloud, Flavour::OldCloud, Flavour::Server] {
        scene.renew(flavour).await;
        // The decision is told by what is the same in every language.
        scene.jira.world(|site| site.translated = flavour != Flavour::OldCloud);
        let approved =
            scene.order("team-a", json!({ "description": "for https://pay.example", "priority": "2" })).await;
        scene.decide(&approved, "Done").await;
        let summary = scene.ended(&approved).await;
        assert_eq!(summary["status"], "completed", "{flavour:?}: {summary}");
        let (output, ticket) = (&summary["output"], scene.ticket(&approved).await);
        assert_eq!((&output["decision"], &output["phase"]), (&json!("approved"), &json!("Active")), "{summary}");
        assert_eq!(output["ticketUrl"], json!(format!("{ADDRESS}/browse/{}", ticket.key)));
        assert_eq!(output["result"]["outputs"][1]["format"], "link");
        let comment = texts(&ticket).pop().expect("a comment");
        assert!(comment.ends_with("Namespace team-a is Active"), "{comment}");
        let labels = scene.cluster.world(|cluster| cluster.spaces["team-a"].labels.clone());
        assert_eq!(labels["orchestrator/request-key"], approved);

        let denied = scene.order("team-b", json!({ "kind": "project" })).await;
        scene.decide(&denied, "Won't Do").await;
        let summary = scene.ended(&denied).await;
        assert_eq!(summary["output"]["decision"], "denied", "{flavour:?}: {summary}");
        assert!(summary["output"]["result"]["message"].as_str().expect("text").contains("denied"));
        assert_eq!(texts(&scene.ticket(&denied).await).len(), 1);
        assert!(!scene.cluster.world(|cluster| cluster.spaces.contains_key("team-b")));
        scene.nothing_tells_a_secret(&approved).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecided_ticket_is_escalated_and_expires_and_a_deleted_one_ends() {
    let mut scene = Scene::start(Flavour::Server).await;
    let levels = json!([
        { "afterMinutes": 0, "recipients": ["group:default/ops"], "channels": ["mail"], "severity": "high" },
        { "afterMinutes": 0.01 },
        { "afterMinutes": 100 },
    ]);
    let id = scene.order("team-a", json!({ "deadlineMinutes": 0.03, "levels": levels })).await;
    let summary = scene.ended(&id).await;
    assert_eq!(summary["output"]["decision"], "expired", "{summary}");
    assert_eq!((&summary["output"]["escalations"], &summary["output"]["closed"]), (&json!(2), &json!(true)));
    let ticket = scene.ticket(&id).await;
    assert_eq!((ticket.category(), ticket.resolution(), ticket.comments.len()), ("done", Some("Won't Do"), 1));

    // Where no screen asks for a resolution, none is sent.
    scene.jira.world(|site| site.asks_resolution = false);
    let id = scene.order("team-b", json!({ "deadlineMinutes": 0.01 })).await;
    assert_eq!(scene.ended(&id).await["output"]["closed"], true);
    assert_eq!(scene.ticket(&id).await.category(), "done");

    let id = scene.order("team-c", json!({})).await;
    let key = scene.ticket(&id).await.key;
    scene.jira.world(|site| site.delete(&key));
    assert_eq!(scene.ended(&id).await["output"]["decision"], "gone");
    assert_eq!(scene.cluster.requests().len(), 0, "nobody approved anything");

    // A project of OpenShift that takes its time.
    scene.renew(Flavour::Cloud).await;
    scene.cluster.world(|cluster| cluster.looks_until_active = 3);
    let id = scene.order("team-d", json!({ "kind": "project" })).await;
    scene.decide(&id, "Done").await;
    assert_eq!(scene.ended(&id).await["output"]["phase"], "Active");
    let annotations = scene.cluster.world(|cluster| cluster.spaces["team-d"].annotations.clone());
    assert!(annotations["openshift.io/description"].ends_with(&format!("[orchestrator:{id}]")), "{annotations:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_reaches_exactly_its_instance() {
    let scene = Scene::start(Flavour::Cloud).await;
    let slow = json!({ "pollSeconds": 3600, "pollMaxSeconds": 3600 });
    let one = scene.order("team-a", slow.clone()).await;
    let other = scene.order("team-b", slow).await;
    let key = scene.ticket(&one).await.key;
    let signed = Proof::Signed(WEBHOOK_SECRET);

    let begun = scene.jira.world(|site| site.begin(&key));
    assert_eq!(scene.deliver(&begun, signed).await.0, 204, "not done yet");
    let decided = scene.decide(&one, "Done").await;
    for (proof, status) in [(Proof::None, 401), (Proof::Signed("forged"), 403), (Proof::Token("forged"), 403)] {
        assert_eq!(scene.deliver(&decided, proof).await.0, status, "{proof:?}");
    }
    let (status, told) = scene.deliver(&decided, signed).await;
    let expected = json!({
        "ticketId": key, "workFlowInstanceId": one, "workflowName": "ticket-escalation", "status": "done",
    });
    assert_eq!((status, told), (200, expected));
    let summary = scene.ended(&one).await;
    assert_eq!(summary["output"]["decision"], "approved", "{summary}");
    // The instance has ended, and nobody is told any more.
    assert_eq!(scene.deliver(&decided, signed).await.0, 204);

    // A copy of the other's ticket that is done is worth a look, and no more.
    let original = scene.ticket(&other).await.key;
    let copied = scene.jira.world(|site| {
        let copy = site.copy(&original);
        site.decide(&copy, "Done")
    });
    assert_eq!(scene.deliver(&copied, signed).await.0, 200);
    let decided = scene.jira.world(|site| site.decide(&original, "Won't Do"));
    assert_eq!(scene.deliver(&decided, Proof::Token(WEBHOOK_SECRET)).await.0, 200);
    assert_eq!(scene.deliver(&decided, Proof::Token(WEBHOOK_SECRET)).await.0 / 100, 2, "Jira repeats itself");
    let summary = scene.ended(&other).await;
    assert_eq!(summary["output"]["decision"], "denied", "{summary}");
    scene.nothing_tells_a_secret(&one).await;
}

/// Everything that the workflow asks of the outside on its way to an approved namespace and a closed ticket.
const REQUESTS: [(&str, &str); 8] = [
    ("GET", "serverInfo"),
    ("GET", "/search/jql"),
    ("POST", "/rest/api/3/issue"),
    ("GET", "/rest/api/3/issue/"),
    ("GET", "/comment"),
    ("POST", "/comment"),
    ("POST", "/namespaces"),
    ("GET", "/namespaces/"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_outside_in_trouble_is_asked_again_and_nothing_is_made_twice() {
    let mut scene = Scene::start(Flavour::Cloud).await;
    let troubles = [
        (Trouble::Status(503), true),
        (Trouble::Status(500), false),
        (Trouble::Status(429), false),
        (Trouble::Drop, false),
        (Trouble::Drop, true),
        (Trouble::Hang, false),
        (Trouble::Hang, true),
        (Trouble::Slow(Duration::from_millis(300)), false),
    ];
    for (trouble, after_effect) in troubles {
        scene.renew(Flavour::Cloud).await;
        scene.jira.world(|site| site.lag = Duration::from_millis(200));
        for (method, path) in REQUESTS {
            let fault = Fault::on(method, path, trouble);
            let fault = if after_effect { fault.after_effect() } else { fault };
            if path.contains("namespaces") { scene.cluster.fault(fault) } else { scene.jira.fault(fault) }
        }
        everything_is_made_once(&scene, &format!("{trouble:?}, after its effect: {after_effect}")).await;
    }
}

/// Two orders at once: which of them each trouble strikes is left to chance.
async fn everything_is_made_once(scene: &Scene, story: &str) {
    let orders = [scene.order("team-a", json!({})).await, scene.order("team-b", json!({})).await];
    for id in &orders {
        scene.decide(id, "Done").await;
    }
    for id in &orders {
        let summary = scene.ended(id).await;
        assert_eq!(summary["output"]["decision"], "approved", "{story}: {summary}");
        assert_eq!(scene.ticket(id).await.comments.len(), 1, "{story}");
    }
    assert_eq!(scene.jira.world(|site| site.issues.len()), 2, "{story}: one ticket for each order");
    assert_eq!(scene.cluster.world(|cluster| cluster.made), 2, "{story}: one namespace for each order");
}

/// A trouble that stays, and how the order ends.
struct Refusal {
    story: &'static str,
    jira: Option<Fault>,
    cluster: Option<Fault>,
    prepare: fn(&mut Cluster),
    kind: &'static str,
    words: &'static str,
}

fn refusals() -> Vec<Refusal> {
    let refused = |story, kind, words| Refusal { story, jira: None, cluster: None, prepare: |_| {}, kind, words };
    let always = |method, path, status| Some(Fault::on(method, path, Trouble::Status(status)).times(1_000));
    let open = |story, status, kind, words| Refusal {
        jira: always("POST", "/rest/api/3/issue", status),
        ..refused(story, kind, words)
    };
    let made = |story, status, kind, words| Refusal {
        cluster: always("POST", "/namespaces", status),
        ..refused(story, kind, words)
    };
    vec![
        open("Jira refuses the ticket", 400, "validation", "summary: is required"),
        open("Jira does not know us", 401, "authentication", "check user and token"),
        open("Jira does not let us open tickets", 403, "authorization", "permission in the project"),
        made("the cluster does not know us", 401, "authentication", "has expired"),
        made("the cluster does not let us", 403, "authorization", "service account"),
        made("the cluster refuses the name", 422, "validation", "is invalid"),
        Refusal {
            prepare: |cluster| cluster.quota = Some(0),
            ..refused("the quota is used up", "authorization", "raise the quota")
        },
        Refusal {
            prepare: |cluster| cluster.add("team-a"),
            ..refused("somebody else has the name", "namespace-taken", "order another name")
        },
        Refusal {
            prepare: |cluster| cluster.looks_until_active = u32::MAX,
            ..refused("the namespace never becomes active", "timeout", "nothing is left behind")
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_refused_is_told_with_its_cure_and_leaves_the_outside_clean() {
    let mut scene = Scene::start(Flavour::Cloud).await;
    for Refusal { story, jira, cluster, prepare, kind, words } in refusals() {
        scene.renew(Flavour::Cloud).await;
        scene.cluster.world(prepare);
        let before = scene.cluster.world(|cluster| cluster.spaces.len());
        let opens = jira.is_none();
        jira.into_iter().for_each(|fault| scene.jira.fault(fault));
        cluster.into_iter().for_each(|fault| scene.cluster.fault(fault));
        let id = scene.order("team-a", json!({ "namespaceMinutes": 0.02 })).await;
        if opens {
            scene.decide(&id, "Done").await;
        }
        let summary = scene.ended(&id).await;
        assert_eq!(summary["status"], "faulted", "{story}: {summary}");
        assert!(summary["error"]["type"].as_str().expect("a type").ends_with(kind), "{story}: {summary}");
        assert!(summary["error"]["detail"].as_str().expect("a detail").contains(words), "{story}: {summary}");
        assert_eq!(scene.cluster.world(|cluster| cluster.spaces.len()), before, "{story}");
        assert_eq!(scene.jira.world(|site| site.issues.len()), usize::from(opens), "{story}");
        if opens {
            let told = texts(&scene.ticket(&id).await).join(" ");
            assert!(told.contains("was not made") && told.contains(words), "{story}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_random_moments_opens_one_ticket_and_makes_one_namespace() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}: repeat with SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut scene = Scene::start(Flavour::Cloud).await;
    for round in 0..4 {
        scene.renew(Flavour::Cloud).await;
        scene.jira.world(|site| site.lag = Duration::from_millis(200));
        let id = scene.order("team-a", json!({})).await;
        let mut decided = false;
        for _ in 0..4 {
            // The moments of the kills are what is random here.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..120))).await;
            scene.server.kill();
            if !decided && scene.jira.world(|site| !site.issues.is_empty()) {
                scene.decide(&id, "Done").await;
                decided = true;
            }
            scene.server.start_again().await.expect("starts again on the same data");
        }
        if !decided {
            scene.decide(&id, "Done").await;
        }
        let summary = scene.ended(&id).await;
        assert_eq!(summary["output"]["decision"], "approved", "seed {seed}, round {round}: {summary}");
        assert_eq!(scene.jira.world(|site| site.issues.len()), 1, "seed {seed}, round {round}");
        assert_eq!(scene.cluster.world(|cluster| cluster.made), 1, "seed {seed}, round {round}");
        assert_eq!(scene.ticket(&id).await.comments.len(), 1, "seed {seed}, round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_has_its_ticket_closed() {
    let scene = Scene::start(Flavour::Cloud).await;
    let id = scene.order("team-a", json!({})).await;
    scene.ticket(&id).await;
    let path = format!("/v1/instances/{id}/cancel");
    let answer = scene.rest().send(reqwest::Method::POST, &path, &[], None).await.expect("answered");
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(scene.ended(&id).await["status"], "cancelled");
    let closed = until(|| {
        let issue = scene.jira.world(|site| site.issues[0].clone());
        (issue.category() == "done").then_some(issue)
    })
    .await;
    assert_eq!(texts(&closed), ["The order behind this ticket was cancelled."]);
    assert_eq!((closed.resolution(), scene.cluster.requests().len()), (Some("Won't Do"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_cancelled_after_its_approval_takes_its_namespace_back() {
    let mut scene = Scene::start(Flavour::Cloud).await;
    // Held in the cluster or in Jira, before and after the namespace is there; the last one belongs to somebody else.
    let places = [
        ("POST", "/namespaces", false, "namespace", false),
        ("POST", "/namespaces", true, "namespace", false),
        ("POST", "/projectrequests", true, "project", false),
        ("GET", "/namespaces/", true, "namespace", false),
        ("POST", "/comment", false, "namespace", false),
        ("GET", "/namespaces/", true, "namespace", true),
    ];
    for (method, path, after_effect, kind, foreign) in places {
        let story = format!("{method} {path}, after its effect: {after_effect}, somebody else's: {foreign}");
        scene.renew(Flavour::Cloud).await;
        if foreign {
            scene.cluster.world(|cluster| cluster.add("team-a"));
        }
        let fault = Fault::on(method, path, Trouble::Hang).times(1_000);
        let fault = if after_effect { fault.after_effect() } else { fault };
        if path == "/comment" {
            scene.jira.fault(fault)
        } else {
            scene.cluster.fault(fault)
        }
        let id = scene.order("team-a", json!({ "kind": kind, "settleSeconds": 0.2 })).await;
        scene.decide(&id, "Done").await;
        until(|| {
            let asked = |seen: Vec<_>| !seen.is_empty();
            (asked(scene.cluster.requests_to(method, path)) || asked(scene.jira.requests_to(method, path)))
                .then_some(())
        })
        .await;
        scene.cluster.heal();
        scene.jira.heal();
        let cleaned = scene.rest().cancelled(&id, "remove-namespace", WITHIN).await.expect("it cleans up");
        assert_eq!(cleaned["status"], "completed", "{story}: {cleaned}");
        let left = scene.cluster.world(|cluster| cluster.spaces.len());
        assert_eq!(left, usize::from(foreign), "{story}: {cleaned}");
        until(|| (scene.jira.world(|site| site.issues[0].category() == "done")).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_audited_by_a_ticket_of_its_own() {
    let scene = Scene::start(Flavour::Cloud).await;
    let audited = async |project: &str, resolution: &str| {
        let approval = json!({ "pollSeconds": 0.05, "pollMaxSeconds": 0.2, "levels": [] });
        let input = json!({
            "projectName": project, "recipients": ["user:default/ann"], "operationsProjectKey": "OPS", "approval": approval,
        });
        let ordered = scene.rest().order("create ocp project", input, project).await.expect("ordered");
        let words = format!("Request authorization to create project {project}");
        let ticket = until(|| {
            scene.jira.world(|site| site.issues.iter().find(|issue| issue.fields["summary"] == words.as_str()).cloned())
        });
        let key = ticket.await.key;
        scene.jira.world(|site| site.decide(&key, resolution));
        scene.ended(ordered["id"].as_str().expect("an id")).await
    };
    let check = |summary: &Value, decision: &str, told: &str, resolution: &str| {
        assert_eq!(summary["output"]["decision"], decision, "{summary}");
        assert_eq!(summary["output"]["result"]["message"], told, "{summary}");
        let key = summary["output"]["auditKey"].as_str().expect("a key");
        let audit = scene.jira.world(|site| site.issue(key).cloned()).expect("the audit's ticket");
        assert!(key.starts_with("AUD-"), "{key}");
        assert_eq!((texts(&audit), audit.resolution()), (vec![told.to_owned()], Some(resolution)));
    };
    check(&audited("team-a", "Done").await, "approved", "Project team-a is Active", "Done");
    check(&audited("team-b", "Won't Do").await, "denied", "Creation of project team-b denied", "Won't Do");
    assert_eq!(scene.cluster.world(|cluster| cluster.made), 1);

    // Somebody else has the name: the audit says why, and the order fails with that.
    scene.cluster.world(|cluster| cluster.add("team-c"));
    let summary = audited("team-c", "Done").await;
    assert_eq!(summary["status"], "faulted", "{summary}");
    let detail = summary["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("Project team-c not active") && detail.contains("order another name"), "{summary}");
}
