//! `orchctl workflow run FILE` with a real component: the storage pack's actions, called from the pack's own workflow and
//! from a file elsewhere, against the double of the block API.

use std::path::Path;
use std::process::Command;

use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::soda::{MOMENT, Pace, Soda, TOKEN, TOKEN_HEADER};
use serde_json::{Value, json};

/// The programs, the built pack, and a double.
struct Desk {
    binaries: Binaries,
    pack: String,
    soda: Soda,
    folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let binaries = Binaries::built().expect("the programs build");
        let pack = binaries.pack("storage").expect("the pack builds").display().to_string();
        let soda = Soda::start_with(Pace::After(MOMENT)).await;
        Self { binaries, pack, soda, folder: tempfile::tempdir().expect("a temporary directory") }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    fn connection(&self) -> String {
        let authentication = json!({ "scheme": "header", "name": TOKEN_HEADER, "value": "soda-token" });
        let declared = json!({ "baseUrl": self.soda.url, "authentication": authentication });
        format!("@{}", self.file("backend.yaml", &declared.to_string()))
    }

    /// Runs a file; the exit code and what was printed as data.
    async fn run(&self, file: &str, options: &[&str]) -> (i32, Value) {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("desk-cache");
        let mut command = Command::new(self.binaries.orchctl());
        command.args(["workflow", "run", file, "-o", "json", "--cache"]).arg(cache).args(options);
        // The double answers on this runtime meanwhile.
        let ran = tokio::task::spawn_blocking(move || command.output().expect("orchctl runs")).await.expect("it ends");
        let data = serde_json::from_slice(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&ran.stderr)));
        (ran.status.code().unwrap_or(-1), data)
    }
}

const ELSEWHERE: &str = "\
document: { dsl: '1.0.3', namespace: desk, name: look, version: '1.0.0' }
do:
  - make: { call: 'create-volume:1.1.0@storage', with: { name: data, size: 3, requestKey: '${ $workflow.id }' } }
  - read: { call: 'get-volume:1.1.0@storage', with: { volumeId: '${ .id }' }, output: { as: .size } }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_calls_the_actions_of_a_built_pack() {
    let desk = Desk::new().await;
    let file = desk.file("look.yaml", ELSEWHERE);
    let backend = format!("backend={}", desk.connection());
    let secret = format!("soda-token={TOKEN}");
    let (code, data) = desk.run(&file, &["--pack", &desk.pack, "--connection", &backend, "--secret", &secret]).await;
    assert_eq!((code, data["status"].as_str()), (0, Some("completed")), "{data}");
    assert_eq!(data["output"], 3);
    assert_eq!(desk.soda.made().volumes, 1);
    let names: Vec<_> = data["tasks"].as_array().expect("tasks").iter().map(|task| task["name"].clone()).collect();
    assert_eq!(names, ["make", "read"]);

    let base = format!("backend={}", desk.soda.url);
    let (code, data) = desk.run(&file, &["--pack", &desk.pack, "--map", &base]).await;
    assert_eq!((code, data["error"]["status"].as_u64()), (1, Some(401)), "without its token: {data}");

    let (code, data) = desk.run(&file, &["--pack", &desk.pack]).await;
    let detail = data["error"]["detail"].as_str().unwrap_or_default();
    assert_eq!((code, data["error"]["status"].as_u64()), (1, Some(403)), "{data}");
    assert!(detail.contains("`--connection NAME=@FILE`") && !detail.contains("pack grant"), "{detail}");
    assert_eq!(desk.soda.made().volumes, 1, "nothing else reached it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_built_pack_needs_no_other_option_than_its_connection() {
    let desk = Desk::new().await;
    let file = format!("{}/workflows/provision-volume.yaml", desk.pack);
    let backend = format!("backend={}", desk.connection());
    let secret = format!("soda-token={TOKEN}");
    let host = desk.soda.host(&["default"]);
    let input = json!({ "name": "data", "size": 2, "hostId": host, "pollSeconds": 0.02 }).to_string();
    let options = ["--connection", &backend, "--secret", &secret, "--input", &input];
    let (code, data) = desk.run(&file, &options).await;
    assert_eq!((code, data["status"].as_str()), (0, Some("completed")), "{data}");
    assert_eq!((desk.soda.volumes().len(), desk.soda.attachments().len()), (1, 1));
}
