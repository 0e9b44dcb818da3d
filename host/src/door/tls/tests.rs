//! Certificates of one test each: read, refused, renewed, asked for.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;

/// An authority, and what it signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, in PEM.
    fn sign(&self, until_year: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(until_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// Files with a certificate of `authority`.
fn files(folder: &TempDir, authority: &Authority, until_year: i32) -> Files {
    let files = Files { certificate: folder.path().join("c.pem"), key: folder.path().join("k.pem"), client_ca: None };
    write(&files, authority.sign(until_year));
    files
}

fn write(files: &Files, (certificate, key): (String, String)) {
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
}

fn connector(authority: &Authority, own: Option<(String, String)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

/// Whether a word goes through, and the certificate that the client showed.
async fn converse(tls: &Tls, connector: TlsConnector) -> io::Result<Option<CertificateDer<'static>>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let client = async {
        let stream = TcpStream::connect(address).await?;
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        stream.write_all(b"word").await?;
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.map(drop)
    };
    let server = async {
        let mut stream = tls.accept(listener.accept().await?.0).await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        stream.write_all(&word).await?;
        Ok::<_, io::Error>(stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone().into_owned()))
    };
    let (client, server) = tokio::join!(client, server);
    client.and(server)
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_answered_and_others_are_not() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let tls = Tls::open(files(&folder, &authority, 2090)).unwrap();
    assert_eq!(converse(&tls, connector(&authority, None)).await.unwrap(), None);
    assert!(converse(&tls, connector(&Authority::new(), None)).await.is_err());
    assert_eq!(tls.expires(), Some("2090-01-01T00:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn where_clients_must_show_certificates_only_signed_ones_are_taken() {
    let (folder, authority, clients) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, clients.0.pem()).unwrap();
    let files = Files { client_ca: Some(path), ..files(&folder, &authority, 2090) };
    let tls = Tls::open(files).unwrap();
    let shown = converse(&tls, connector(&authority, Some(clients.sign(2090)))).await.unwrap();
    assert!(shown.is_some());
    assert!(converse(&tls, connector(&authority, None)).await.is_err());
    assert!(converse(&tls, connector(&authority, Some(Authority::new().sign(2090)))).await.is_err());
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_a_bad_one_is_refused_once() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let files = files(&folder, &authority, 2090);
    let tls = Tls::open(files.clone()).unwrap();
    assert!(matches!(tls.renew(false), Renewal::Unchanged));
    let other = Authority::new();
    write(&files, other.sign(2091));
    std::fs::File::open(&files.key).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert!(matches!(tls.renew(false), Renewal::Renewed));
    assert_eq!(tls.expires(), Some("2091-01-01T00:00:00Z".parse().unwrap()));
    assert!(converse(&tls, connector(&other, None)).await.is_ok());

    std::fs::write(&files.key, other.sign(2092).1).unwrap();
    assert!(matches!(tls.renew(false), Renewal::Refused(TlsError::Unfit { .. })));
    assert!(matches!(tls.renew(false), Renewal::Unchanged), "what was said is not said again");
    assert!(matches!(tls.renew(true), Renewal::Refused(_)), "unless somebody asks");
    assert!(converse(&tls, connector(&other, None)).await.is_ok(), "the old certificate stays");
}

#[test]
fn files_that_hold_something_else_are_refused_by_name() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let good = files(&folder, &authority, 2090);
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let missing = folder.path().join("missing.pem");
    let check = |files: Files, expected: &str| {
        let text = Tls::open(files).unwrap_err().to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    };
    check(Files { certificate: empty.clone(), ..good.clone() }, "find a certificate in");
    check(Files { certificate: good.key.clone(), ..good.clone() }, "find a certificate in");
    check(Files { key: good.certificate.clone(), ..good.clone() }, "find a private key in");
    check(Files { key: missing, ..good.clone() }, "missing.pem");
    check(Files { client_ca: Some(empty), ..good.clone() }, "empty.pem");
    let (_, stranger) = authority.sign(2090);
    let key = folder.path().join("stranger.pem");
    std::fs::write(&key, stranger).unwrap();
    check(Files { key, ..good }, "belongs to another certificate");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let tls = Tls::open(files(&folder, &authority, 2090)).unwrap();
    let tls = Tls { handshake_max: Duration::from_millis(10), ..tls };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let refused = tls.accept(listener.accept().await.unwrap().0).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
}
