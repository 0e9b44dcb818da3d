//! How the real server is reached and run: TLS and its renewal, unix sockets, a service manager's sockets and signs of
//! life, probes and metrics, and what `orchestrator config` says.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::Rest;
use orchestrator_tests::server::{Launch, Server};
use rcgen::{CertificateParams, KeyPair};
use tokio::net::UnixStream;

/// A self-signed certificate for this machine, until the given year; its PEM.
fn certify(folder: &Path, year: i32) -> String {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("two names");
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().expect("there is chance");
    let certificate = params.self_signed(&key).expect("the key fits").pem();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).expect("the folder can be written");
    std::fs::write(folder.join("certificate.pem"), &certificate).expect("the folder can be written");
    certificate
}

/// A client that trusts this certificate and nothing else.
fn trusting(certificate: &str) -> reqwest::Client {
    orchestrator_tests::tls_ready();
    let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).expect("it was just made");
    reqwest::Client::builder().tls_certs_only([certificate]).no_proxy().build().expect("a client can be built")
}

/// Until when the server says its certificate is valid.
async fn expires(client: &reqwest::Client, url: &str) -> reqwest::Result<String> {
    let text = client.get(format!("{url}/v1/health")).send().await?.text().await?;
    let health: serde_json::Value = serde_json::from_str(&text).expect("health is JSON");
    Ok(health["certificateExpires"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn tls_is_spoken_and_renewed_without_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let first = certify(folder.path(), 2090);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let launch = Launch::with(&["--listen", "127.0.0.1:0", "--tls-certificate", &certificate, "--tls-key", &key]);
    let mut server = Server::launch(&Binaries::built().unwrap(), folder.path(), launch).await.unwrap();
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let old = trusting(&first);
    assert_eq!(expires(&old, &server.url).await.unwrap(), "2090-01-01T00:00:00Z");
    let plain = server.url.replace("https", "http");
    assert!(Rest::new(&plain).get("/livez").await.is_err(), "nothing is answered without TLS");

    let second = certify(folder.path(), 2091);
    server.signal("HUP").unwrap();
    let (new, started) = (trusting(&second), Instant::now());
    while expires(&new, &server.url).await.ok().as_deref() != Some("2091-01-01T00:00:00Z") {
        assert!(started.elapsed() < Duration::from_secs(10), "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(expires(&old, &server.url).await.unwrap(), "2091-01-01T00:00:00Z", "open connections stay");

    std::fs::write(path("key.pem"), "nothing").unwrap();
    server.signal("HUP").unwrap();
    wait_for(&server.log(), "the old certificate stays").await;
    assert!(expires(&trusting(&second), &server.url).await.is_ok());
    assert!(server.stop().await);
}

/// Waits until a file has this text.
async fn wait_for(path: &Path, text: &str) {
    let started = Instant::now();
    while !std::fs::read_to_string(path).unwrap_or_default().contains(text) {
        assert!(started.elapsed() < Duration::from_secs(10), "{} never says `{text}`", path.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The status and text of an answer over a unix socket.
async fn over_unix(path: &Path, target: &str) -> anyhow::Result<(u16, String)> {
    let stream = UnixStream::connect(path).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = hyper::Request::builder().uri(target).header("host", "localhost").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let text = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(text.to_vec())?))
}

#[tokio::test]
async fn a_unix_socket_stands_instead_of_an_address_and_survives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o.sock");
    let launch = Launch::with(&["--listen-unix", path.to_str().unwrap(), "--unix-mode", "0660"]);
    let mut server = Server::launch(&Binaries::built().unwrap(), folder.path(), launch).await.unwrap();
    assert_eq!(server.url, format!("unix:{}", path.display()));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(over_unix(&path, "/readyz").await.unwrap(), (200, "ok\n".to_owned()));
    let (status, metrics) = over_unix(&path, "/metrics").await.unwrap();
    assert!(status == 200 && metrics.contains("\norchestrator_connections "), "{metrics}");

    server.kill();
    assert!(path.exists(), "a crash leaves the socket");
    server.start_again().await.unwrap();
    assert_eq!(over_unix(&path, "/livez").await.unwrap().0, 200);
    assert!(server.stop().await);
    assert!(!path.exists(), "an orderly stop does not");
}

#[tokio::test]
async fn an_address_and_a_unix_socket_are_listened_on_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o.sock");
    let launch =
        Launch::with(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen-unix", path.to_str().unwrap()]);
    let server = Server::launch(&Binaries::built().unwrap(), folder.path(), launch).await.unwrap();
    assert_eq!(Rest::new(&server.url).get("/v1/health").await.unwrap()["status"], "ok");
    assert_eq!(over_unix(&path, "/livez").await.unwrap().0, 200);
    let log = std::fs::read_to_string(server.log()).unwrap();
    assert!(log.contains("http://[::1]:") && log.contains("unix:/"), "{log}");
}

/// Hands standard input over as systemd hands over sockets: descriptor 3, for this very process.
const ACTIVATE: &str = "exec 3<&0; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";

#[tokio::test]
async fn a_service_manager_hands_over_its_socket_and_is_told_how_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let told = || {
        let mut buffer = [0; 300];
        let length = notify.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let launch = Launch {
        arguments: Vec::new(),
        environment: vec![
            ("NOTIFY_SOCKET".to_owned(), folder.path().join("notify").to_str().unwrap().to_owned()),
            ("WATCHDOG_USEC".to_owned(), "200000".to_owned()),
        ],
        shell: Some(ACTIVATE.to_owned()),
        input: Some(Arc::new(OwnedFd::from(listener))),
    };
    let mut server = Server::launch(&Binaries::built().unwrap(), folder.path(), launch).await.unwrap();
    assert_eq!(server.url, url);
    assert_eq!(Rest::new(&url).get("/v1/health").await.unwrap()["status"], "ok");
    assert_eq!(told(), format!("READY=1\nSTATUS=answers on {url}"));
    assert_eq!(told(), "WATCHDOG=1");
    assert!(server.stop().await);
    assert!(std::iter::repeat_with(told).take(200).any(|state| state.starts_with("STOPPING=1")));
}

/// Runs the server's program to its end.
fn orchestrator(arguments: &[&str]) -> Output {
    let program = Binaries::built().expect("the programs can be built").orchestrator();
    let run = Command::new(program).args(arguments).env_remove("ORCHESTRATOR_CONFIG").output();
    run.expect("the program can be run")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn settings_are_checked_shown_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("o.yaml");
    let data = folder.path().join("data");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();

    write(&format!("data: {}\nlisten: [127.0.0.1:0]\n", data.display()));
    let fine = orchestrator(&["config", "check", "--config", path]);
    assert!(fine.status.success() && printed(&fine).ends_with("the settings are right\n"), "{fine:?}");
    let shown = printed(&orchestrator(&["config", "show", "--config", path, "--log-format", "json"]));
    assert!(shown.contains("logFormat: json  # from --log-format"), "{shown}");
    assert!(!data.exists(), "neither makes anything");

    write("dta: x\nlisten: nowhere\n");
    let wrong = orchestrator(&["config", "check", "--config", path]);
    assert_eq!(wrong.status.code(), Some(2));
    let text = printed(&wrong);
    assert!(text.contains(&format!("{path}:1: `dta`")) && text.contains("did you mean `data`"), "{text}");
    assert!(text.contains(&format!("{path}:2: `listen`")) && text.ends_with("3 settings are wrong\n"), "{text}");
    let refused = orchestrator(&["--config", path]);
    assert_eq!(refused.status.code(), Some(2), "a server does not start with them");

    assert!(printed(&orchestrator(&["config", "reference"])).contains("### `tls.certificate`"));
    let refused =
        orchestrator(&["--data", data.to_str().unwrap(), "--listen", "0.0.0.0:0", "--authentication", "none"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--insecure-no-authentication"), "{refused:?}");
}

#[test]
fn the_unit_files_are_understood_by_systemd() {
    let folder: PathBuf = orchestrator_tests::binaries::root().join("host/systemd");
    let units = ["orchestrator.service", "orchestrator.socket"];
    for unit in units {
        assert!(folder.join(unit).exists(), "{unit}");
    }
    let copies = tempfile::tempdir().unwrap();
    let program = Binaries::built().unwrap().orchestrator();
    for unit in units {
        // The program is where a package puts it; here it is somewhere else.
        let text = std::fs::read_to_string(folder.join(unit)).unwrap();
        let text = text.replace("/usr/local/bin/orchestrator", program.to_str().unwrap());
        std::fs::write(copies.path().join(unit), text).unwrap();
    }
    let Ok(verified) =
        Command::new("systemd-analyze").arg("verify").args(units.map(|unit| copies.path().join(unit))).output()
    else {
        return; // There is no systemd on this machine; nothing else can tell.
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("orchestrator.")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}
