//! People over the real programs: the first admin token, tokens for others, issuers and Keystone, the audit log, and the way
//! back in for who is locked out.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::{Answer, Rest};
use orchestrator_tests::keystone::{self, Keystone};
use orchestrator_tests::oidc::{self, Issuer};
use reqwest::Method;
use serde_json::{Value, json};

/// Far more than a start takes.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Longer than an issuer is left alone after it was asked.
const ROTATED_WITHIN: Duration = Duration::from_secs(30);

/// A server that authenticates, on a data directory of its own.
struct Site {
    binaries: Binaries,
    folder: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
    child: Option<Child>,
    rest: Rest,
}

impl Site {
    fn new(settings: Vec<(&'static str, String)>) -> Result<Self> {
        let (binaries, folder) = (Binaries::built()?, tempfile::tempdir()?);
        Ok(Self { binaries, folder, settings, child: None, rest: Rest::new("http://127.0.0.1:1") })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn orchestrator(&self) -> Command {
        let mut command = Command::new(self.binaries.orchestrator());
        command.env("ORCHESTRATOR_DATA", self.path("data")).env("ORCHESTRATOR_ADMIN_TOKEN_FILE", self.path("admin"));
        command.envs(self.settings.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    async fn start(&mut self) -> Result<()> {
        let (ready, log) = (self.path("ready"), std::fs::File::create(self.path("log"))?);
        // There is none at the first start.
        let _ = std::fs::remove_file(&ready);
        let mut command = self.orchestrator();
        command.args(["--listen", "127.0.0.1:0", "--authentication", "required", "--ready-file"]).arg(&ready);
        self.child = Some(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        let start = Instant::now();
        while start.elapsed() < READY_WITHIN {
            if let Ok(url) = std::fs::read_to_string(&ready)
                && url.starts_with("http")
            {
                self.rest = Rest::new(url.trim().trim_end_matches('/'));
                std::fs::write(self.path("url"), url)?;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::bail!("the server is not ready:\n{}", std::fs::read_to_string(self.path("log"))?)
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn admin(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.path("admin"))?.trim().to_owned())
    }

    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let bearer = format!("Bearer {token}");
        self.rest.send(method, path, &[("authorization", &bearer)], body).await
    }

    async fn who(&self, header: (&str, &str)) -> Result<Answer> {
        self.rest.send(Method::GET, "/v1/whoami", &[header], None).await
    }

    /// Runs `orchctl` with the token in a file.
    fn orchctl(&self, token_file: &Path, arguments: &[&str]) -> Result<Output> {
        let url = std::fs::read_to_string(self.path("url"))?;
        let mut command = Command::new(self.binaries.orchctl());
        command.args(["--server", url.trim(), "--token-file"]).arg(token_file).args(arguments);
        command.env("XDG_CONFIG_HOME", self.path("config")).output().context("run orchctl")
    }

    fn said(&self, token_file: &Path, arguments: &[&str]) -> Result<String> {
        let output = self.orchctl(token_file, arguments)?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "orchctl {arguments:?}: {}\n{told}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test]
async fn the_first_admin_lets_others_in_and_the_log_tells_all_of_it() -> Result<()> {
    let mut site = Site::new(Vec::new())?;
    site.start().await?;
    let admin = site.path("admin");
    assert_eq!(site.rest.send(Method::GET, "/v1/packs", &[], None).await?.status, 401);
    assert_eq!(site.rest.send(Method::GET, "/v1/health", &[], None).await?.status, 200);

    site.said(&admin, &["tenant", "set", "acme", "--description", "Acme"])?;
    let boss = site.path("boss");
    let save = boss.to_string_lossy().into_owned();
    site.said(&admin, &["--tenant", "acme", "token", "create", "boss", "--role", "tenant-admin", "--save", &save])?;
    let who: Value = serde_json::from_str(&site.said(&boss, &["whoami", "-o", "json"])?)?;
    assert_eq!((&who["subject"], &who["tenant"]), (&json!("token:acme/boss"), &json!("acme")));
    let worker = site.said(&boss, &["token", "create", "worker", "--role", "operator", "--expires-in", "1h"])?;
    assert_eq!(site.ask(worker.trim(), Method::GET, "/v1/services", None).await?.status, 200);
    assert_eq!(site.ask(worker.trim(), Method::GET, "/v1/secrets", None).await?.status, 403);
    let refused = site.orchctl(&boss, &["tenant", "set", "umbrella"])?;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("server-admin"));
    site.said(&boss, &["token", "revoke", "worker"])?;
    assert_eq!(site.ask(worker.trim(), Method::GET, "/v1/services", None).await?.status, 401);

    // A crash loses no entry of a change that was answered.
    site.kill();
    site.start().await?;
    let list: Value = serde_json::from_str(&site.said(&admin, &["audit", "list", "-o", "json"])?)?;
    let actions: Vec<_> = list["items"].as_array().context("items")?.iter().rev().map(|row| &row["action"]).collect();
    let expected = [
        "list_packs",
        "put_tenant",
        "create_token",
        "create_token",
        "list_secrets",
        "put_tenant",
        "revoke_token",
        "list_services",
    ];
    assert_eq!(actions, expected);
    assert!(site.said(&admin, &["audit", "verify"])?.contains("true"));
    let export = site.path("audit.jsonl").to_string_lossy().into_owned();
    site.said(&admin, &["audit", "export", "--to", &export])?;
    assert!(site.said(&admin, &["audit", "verify", "--file", &export])?.contains("true"));
    let text = std::fs::read_to_string(&export)?;
    std::fs::write(&export, text.replace("token:acme/boss", "token:acme/b0ss"))?;
    assert!(!site.orchctl(&admin, &["audit", "verify", "--file", &export])?.status.success());
    Ok(())
}

#[tokio::test]
async fn who_is_locked_out_gets_a_new_admin_token_while_the_server_is_stopped() -> Result<()> {
    let mut site = Site::new(Vec::new())?;
    site.start().await?;
    let old = site.admin()?;
    let held = site.orchestrator().args(["token", "reset-admin"]).output()?;
    assert!(!held.status.success(), "a running server holds the data");
    assert_eq!(site.admin()?, old);
    site.kill();
    let reset = site.orchestrator().args(["token", "reset-admin"]).output()?;
    ensure!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    let new = site.admin()?;
    assert!(!String::from_utf8_lossy(&reset.stdout).contains(&new), "it is in the file alone");
    site.start().await?;
    assert_eq!(site.admin()?, new, "a start makes no further token");
    assert_eq!(site.ask(&old, Method::GET, "/v1/tokens", None).await?.status, 401);
    assert_eq!(site.ask(&new, Method::GET, "/v1/tokens", None).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn tokens_of_an_issuer_and_of_keystone_are_taken() -> Result<()> {
    let (issuer, keystone) = (Issuer::start().await, Keystone::start().await);
    let password = tempfile::NamedTempFile::new()?;
    std::fs::write(password.path(), format!("{}\n", keystone::PASSWORD))?;
    let oidc = json!([{
        "issuer": issuer.url, "audiences": [oidc::AUDIENCE], "rolesClaim": "/realm_access/roles",
        "roles": { "ops": ["operator"] }, "tenantClaim": "org", "tenants": { "o-1": "acme" },
    }]);
    let openstack = json!({
        "url": keystone.url, "user": keystone::USER, "project": "service", "passwordFile": password.path(),
        "roles": { "member": ["operator"] }, "projects": { "p-1": "acme" },
    });
    let mut site =
        Site::new(vec![("ORCHESTRATOR_OIDC", oidc.to_string()), ("ORCHESTRATOR_KEYSTONE", openstack.to_string())])?;
    site.start().await?;
    let made = site.ask(&site.admin()?, Method::PUT, "/v1/tenants/acme", Some(&json!({}))).await?;
    assert_eq!(made.status, 201, "{}", made.body);

    let ann = json!({ "sub": "ann", "org": "o-1", "realm_access": { "roles": ["ops"] } });
    let bearer = |seconds| format!("Bearer {}", issuer.with(|issuer| issuer.token(seconds, &ann)));
    let old = bearer(600);
    let who = site.who(("authorization", &old)).await?.body;
    assert_eq!((&who["subject"], &who["tenant"]), (&json!(format!("oidc:{}|ann", issuer.url)), &json!("acme")));
    assert_eq!((&who["roles"], &who["authentication"]), (&json!(["operator"]), &json!("oidc")));
    assert_eq!(site.who(("authorization", &bearer(-120))).await?.status, 401, "it has ended");
    issuer.with(Issuer::rotate);
    let (new, start) = (bearer(600), Instant::now());
    while site.who(("authorization", &new)).await?.status != 200 {
        ensure!(start.elapsed() < ROTATED_WITHIN, "the issuer's new key is never fetched");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(site.who(("authorization", &old)).await?.status, 401, "its key was taken back");
    issuer.with(|issuer| issuer.is_down = true);
    assert_eq!(site.who(("authorization", &new)).await?.status, 200, "known keys go on working");

    keystone.give("gAAAA-bob", "u-bob", "p-1", &["member", "reader"]);
    keystone.give("gAAAA-eve", "u-eve", "p-2", &["member"]);
    for _ in 0..3 {
        let who = site.who(("x-auth-token", "gAAAA-bob")).await?.body;
        assert_eq!((&who["subject"], &who["tenant"]), (&json!("keystone:u-bob"), &json!("acme")), "{who}");
    }
    assert_eq!(keystone.validated(), 1, "the answer is believed for a while");
    keystone.forget_own();
    assert_eq!(site.who(("x-auth-token", "gAAAA-eve")).await?.status, 403, "her project is no tenant");
    assert_eq!(site.who(("x-auth-token", "gAAAA-nobody")).await?.status, 401);
    assert_eq!(site.who(("x-auth-token", &site.admin()?)).await?.body["subject"], "token:admin");
    Ok(())
}
