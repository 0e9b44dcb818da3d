//! Mail against a double that breaks at every step, and against a real server (aiosmtpd) with TLS and a password.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use orchestrator_host::connection::client::Client;
use orchestrator_host::connection::declaration::Connection;
use orchestrator_host::connection::mail::{Letter, MailError, Sent};
use orchestrator_host::connection::secrets::SecretStore;
use orchestrator_host::journal::memory::MemoryJournal;
use orchestrator_host::model::{ConnectionName, SecretName, TenantName};
use orchestrator_tests::smtp::{Smtp, Stage, Trouble};
use serde_json::{Value, json};

const USER: &str = "orchestrator";
const PASSWORD: &str = "mail-password-1";

/// A connection's client, with the password stored.
async fn client(connection: Value) -> Client {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secrets = SecretStore::open(Arc::new(MemoryJournal::new()), &directory.path().join("key")).expect("secrets");
    let secrets = secrets.of(&TenantName::standard());
    secrets.put(&SecretName::parse("password").expect("a name"), PASSWORD.as_bytes()).await.expect("stored");
    let declaration: Connection = serde_json::from_value(connection).expect("a declaration");
    Client::new(ConnectionName::parse("post").expect("a name"), declaration, secrets).expect("a client")
}

async fn plain(smtp: &Smtp) -> Client {
    client(json!({
        "baseUrl": format!("smtp://{}", smtp.address),
        "authentication": {"scheme": "basic", "username": USER, "password": "password"},
        "timeoutMs": 1000,
        "mail": {"from": "Flow <flow@example.org>", "tls": "none"},
    }))
    .await
}

fn letter(to: &[&str]) -> Letter {
    Letter {
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        subject: "Größe".to_owned(),
        text: Some(".\r\n.a line that begins with a dot\r\n".to_owned()),
        ..Letter::default()
    }
}

async fn send(client: &Client, letter: &Letter) -> (Result<Sent, MailError>, bool) {
    let handed_over = AtomicBool::new(false);
    let sent = client.mailer().expect("it is for mail").send(letter, "key-1", &handed_over).await;
    (sent, handed_over.into_inner())
}

#[tokio::test]
async fn a_message_arrives_as_it_was_written() {
    let smtp = Smtp::start().await;
    smtp.require(USER, PASSWORD);
    let client = plain(&smtp).await;
    let letter = Letter { bcc: vec!["eve@example.org".to_owned()], ..letter(&["ann@example.org"]) };
    let (sent, handed_over) = send(&client, &letter).await;
    let Ok(Sent::Accepted { message_id, recipients, missing }) = sent else { panic!("{sent:?}") };
    assert_eq!((recipients, missing.len(), handed_over), (2, 0, true));
    let arrived = &smtp.letters()[0];
    assert_eq!((arrived.from.as_str(), arrived.user.as_deref()), ("flow@example.org", Some(USER)));
    assert_eq!(arrived.to, ["ann@example.org", "eve@example.org"]);
    assert_eq!(arrived.header("Message-ID"), Some(message_id.as_str()));
    assert!(!arrived.data.contains("eve@"), "a blind copy is not told");
    assert!(arrived.data.contains("\r\n.a line that begins with a dot"), "{}", arrived.data);
    send(&client, &letter).await.0.expect("again");
    assert_eq!(
        smtp.letters()[1].header("Message-ID"),
        Some(message_id.as_str()),
        "a repeat is known by its identifier"
    );
}

/// What an error is, for a table.
fn kind(sent: &Result<Sent, MailError>) -> &'static str {
    match sent {
        Ok(_) => "sent",
        Err(MailError::Invalid(_)) => "invalid",
        Err(MailError::Refused(_)) => "refused",
        Err(MailError::Unavailable(_)) => "unavailable",
        Err(MailError::Interrupted(_)) => "interrupted",
        Err(MailError::Exhausted(_)) => "exhausted",
    }
}

#[tokio::test]
async fn every_step_that_fails_says_whether_something_was_sent() {
    use Stage::{Auth, Data, Greeting, Hello, Mail, Message, Recipient, Taken};
    let check = async |stage: Stage, trouble: Trouble, expected: &str, handed_over: bool| {
        let smtp = Smtp::start().await;
        let client = plain(&smtp).await;
        smtp.trouble(stage, trouble);
        let (sent, handed) = send(&client, &letter(&["ann@example.org"])).await;
        assert_eq!((kind(&sent), handed), (expected, handed_over), "{stage:?} {trouble:?}: {sent:?}");
        let text = sent.expect_err("it failed").to_string();
        for hidden in ["127.0.0.1", "double", PASSWORD, USER] {
            assert!(!text.contains(hidden), "{stage:?} {trouble:?} tells `{hidden}`: {text}");
        }
    };
    for stage in [Greeting, Hello, Auth, Mail, Recipient, Data] {
        check(stage, Trouble::Drop, "unavailable", false).await;
        check(stage, Trouble::Reply("421 4.3.2 mail.double.example is going down"), "unavailable", false).await;
        check(stage, Trouble::Reply("554 5.7.1 mail.double.example does not like you"), "refused", false).await;
    }
    check(Message, Trouble::Reply("451 4.3.0 later"), "unavailable", false).await;
    check(Message, Trouble::Reply("552 5.3.4 too large"), "refused", false).await;
    check(Message, Trouble::Drop, "interrupted", true).await;
    check(Taken, Trouble::Drop, "interrupted", true).await;
    check(Data, Trouble::Hang, "unavailable", false).await;
    check(Taken, Trouble::Hang, "interrupted", true).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_its_cure() {
    let smtp = Smtp::start().await;
    smtp.require(USER, "another");
    let (sent, _) = send(&plain(&smtp).await, &letter(&["ann@example.org"])).await;
    assert!(
        matches!(&sent, Err(MailError::Refused(text)) if text.contains("check the connection's user name")),
        "{sent:?}"
    );
    assert!(smtp.letters().is_empty());
}

#[tokio::test]
async fn a_recipient_that_is_refused_does_not_keep_the_others_from_the_message() {
    let smtp = Smtp::start().await;
    smtp.refuse("gone@example.org");
    let client = plain(&smtp).await;
    let (sent, _) = send(&client, &letter(&["gone@example.org", "ann@example.org"])).await;
    let Ok(Sent::Accepted { recipients, missing, .. }) = sent else { panic!("{sent:?}") };
    assert_eq!((recipients, missing), (1, vec!["gone@example.org".to_owned()]));
    let (sent, handed_over) = send(&client, &letter(&["gone@example.org"])).await;
    assert_eq!((kind(&sent), handed_over), ("refused", false));
}

/// aiosmtpd as a process of its own; what it takes lies in a folder.
struct RealServer {
    port: u16,
    folder: tempfile::TempDir,
    child: Child,
}

impl Drop for RealServer {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const REAL_SERVER: &str = r#"
import asyncio, ssl, sys, json
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword, SMTP
folder, implicit = sys.argv[1], sys.argv[2] == "implicit"
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(folder + "/certificate.pem", folder + "/key.pem")
def authenticate(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"orchestrator", b"mail-password-1")
    return AuthResult(success=right)
class Handler:
    async def handle_DATA(self, server, session, envelope):
        told = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None or implicit,
                "data": envelope.content.decode("utf-8", "replace")}
        open(folder + "/taken.json", "w").write(json.dumps(told))
        return "250 taken"
options = dict(authenticator=authenticate, auth_required=True, auth_require_tls=not implicit)
if not implicit:
    options.update(tls_context=context, require_starttls=True)
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), loop=loop, hostname="localhost", **options), "127.0.0.1", 0,
                                      ssl=context if implicit else None)
    open(folder + "/port.new", "w").write(str(server.sockets[0].getsockname()[1]))
    import os; os.rename(folder + "/port.new", folder + "/port")
    await asyncio.Event().wait()
asyncio.run(main())
"#;

/// Where aiosmtpd is; installed there once. Nothing where the registry of Python's packages is out of reach.
fn modules() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aiosmtpd-1.4.6");
    if !folder.join("aiosmtpd").exists() {
        let installed = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "aiosmtpd==1.4.6", "--target"])
            .arg(&folder)
            .status();
        if !installed.is_ok_and(|status| status.success()) {
            println!(
                "NOT TESTED against a real mail server: pip cannot install aiosmtpd (apt-get install -y python3-pip)"
            );
            return None;
        }
    }
    Some(folder)
}

async fn real_server(tls: &str) -> Option<RealServer> {
    let modules = modules()?;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.path().join("key.pem"))
        .arg("-out")
        .arg(folder.path().join("certificate.pem"))
        .stderr(Stdio::null())
        .status()
        .expect("openssl makes the certificate: apt-get install -y openssl");
    assert!(made.success());
    let child = Command::new("python3")
        .env("PYTHONPATH", modules)
        .args(["-c", REAL_SERVER])
        .arg(folder.path())
        .arg(tls)
        .spawn()
        .expect("python3 runs");
    let (start, port) = (Instant::now(), folder.path().join("port"));
    while !port.exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "the real server does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let port = std::fs::read_to_string(port).expect("it was written").parse().expect("a port");
    Some(RealServer { port, folder, child })
}

async fn to_real(server: &RealServer, tls: &str, change: impl FnOnce(&mut Value)) -> Client {
    let certificate = std::fs::read_to_string(server.folder.path().join("certificate.pem")).expect("it was made");
    let mut connection = json!({
        "baseUrl": format!("smtp://localhost:{}", server.port),
        "authentication": {"scheme": "basic", "username": USER, "password": "password"},
        "caCertificates": certificate,
        "timeoutMs": 10_000,
        "mail": {"from": "Flow <flow@example.org>", "tls": tls},
    });
    change(&mut connection);
    client(connection).await
}

#[tokio::test]
async fn a_real_server_takes_mail_over_tls_only() {
    for tls in ["starttls", "implicit"] {
        let Some(server) = real_server(tls).await else { return };
        let client = to_real(&server, tls, |_| {}).await;
        let (sent, _) = send(&client, &letter(&["Ann <ann@example.org>", "bob@example.org"])).await;
        assert_eq!(kind(&sent), "sent", "{tls}: {sent:?}");
        let taken = std::fs::read_to_string(server.folder.path().join("taken.json")).expect("it was taken");
        let taken: Value = serde_json::from_str(&taken).expect("JSON");
        assert_eq!((&taken["tls"], &taken["to"]), (&json!(true), &json!(["ann@example.org", "bob@example.org"])));
        assert!(taken["data"].as_str().is_some_and(|data| data.contains(".a line that begins with a dot")), "{taken}");

        let untrusted = to_real(&server, tls, |connection| drop(connection["caCertificates"].take())).await;
        let (sent, _) = send(&untrusted, &letter(&["ann@example.org"])).await;
        assert_eq!(kind(&sent), "unavailable", "{tls}: {sent:?}");
        assert!(sent.expect_err("untrusted").to_string().contains("TLS failed"));
    }
    let Some(server) = real_server("starttls").await else { return };
    let without = to_real(&server, "none", |connection| connection["authentication"] = json!({"scheme": "none"})).await;
    let (sent, handed_over) = send(&without, &letter(&["ann@example.org"])).await;
    assert_eq!((kind(&sent), handed_over), ("refused", false), "{sent:?}");
    let plain = Smtp::start().await;
    let client = client(json!({
        "baseUrl": format!("smtp://{}", plain.address), "mail": {"from": "flow@example.org"}, "timeoutMs": 2000,
    }))
    .await;
    let (sent, _) = send(&client, &letter(&["ann@example.org"])).await;
    assert!(matches!(&sent, Err(MailError::Refused(text)) if text.contains("mail.tls")), "{sent:?}");
}
