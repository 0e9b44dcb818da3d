//! How a server is reached: by TCP, by TLS with authorities of one's own, by a unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::{Host, Url};

use super::Client;
use crate::cli::error::Error;
use crate::cli::settings::Access;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The header by which a server admin chooses a tenant.
const TENANT: &str = "orchestrator-tenant";

/// Where a server is.
#[derive(Debug, PartialEq)]
enum Address {
    Url(Url),
    Socket(PathBuf),
}

/// Whether a server could be there.
///
/// # Errors
/// It is no address of a server.
pub(in crate::cli) fn check_address(text: &str) -> Result<(), Error> {
    Address::parse(text).map(drop)
}

pub(super) fn connect(access: &Access) -> Result<Client, Error> {
    let address = Address::parse(&access.server)?;
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .default_headers(headers(access)?)
        .user_agent(concat!("orchctl/", env!("CARGO_PKG_VERSION")));
    // An error only means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (base, shown) = match address {
        Address::Url(base) => {
            if is_loopback(&base) {
                builder = builder.no_proxy(); // A proxy cannot reach this machine's own loopback.
            }
            builder = match base.scheme() {
                "https" => trusting(builder, access)?,
                // Nothing to look up for plain HTTP.
                _ => builder.tls_backend_preconfigured(without_certificates()),
            };
            let shown = base.as_str().trim_end_matches('/').to_owned();
            (base, shown)
        }
        Address::Socket(path) => {
            let shown = format!("unix://{}", path.display());
            builder = builder.no_proxy().unix_socket(path).tls_backend_preconfigured(without_certificates());
            (Url::parse("http://localhost").expect("a fixed URL"), shown)
        }
    };
    let http = builder.build().map_err(|error| Error::Failed(format!("set up the HTTP client: {error}")))?;
    Ok(Client { http, base, shown })
}

/// What every request carries.
fn headers(access: &Access) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    if let Some(token) = &access.token {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.as_str()));
        let mut value = value.map_err(|_| Error::Usage("the token does not fit into a header".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if let Some(tenant) = &access.tenant {
        let value = HeaderValue::from_str(tenant);
        headers.insert(TENANT, value.map_err(|_| Error::Usage(format!("`{tenant}` is not the name of a tenant")))?);
    }
    Ok(headers)
}

fn trusting(builder: reqwest::ClientBuilder, access: &Access) -> Result<reqwest::ClientBuilder, Error> {
    if access.skip_verify {
        return Ok(builder.tls_danger_accept_invalid_certs(true).tls_danger_accept_invalid_hostnames(true));
    }
    match &access.ca_file {
        Some(path) => Ok(builder.tls_certs_only(authorities(path)?)),
        None => Ok(builder),
    }
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, Error> {
    const BYTES_MAX: u64 = 4 << 20; // The public roots of a system have 200 kB.
    let shown = path.display().to_string();
    let bytes = crate::cli::input::bytes_of(&shown, BYTES_MAX).map_err(Error::Usage)?;
    match reqwest::Certificate::from_pem_bundle(&bytes) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::Usage(format!("`{shown}` holds no certificate; write a PEM file of the authorities"))),
        Err(error) => Err(Error::Usage(format!("`{shown}` is no PEM file of certificates: {error}"))),
    }
}

impl Address {
    fn parse(server: &str) -> Result<Self, Error> {
        let wrong = |reason: String| {
            let cure = "write `http://HOST:PORT`, `https://HOST` or `unix:///PATH`";
            Error::Usage(format!("`{server}` is not a server's URL: {reason}; {cure}"))
        };
        if let Some(path) = server.strip_prefix("unix://") {
            return match path.starts_with('/') {
                true => Ok(Self::Socket(PathBuf::from(path))),
                false => Err(wrong("the path of a socket is absolute".to_owned())),
            };
        }
        let url = Url::parse(server).map_err(|error| wrong(error.to_string()))?;
        match url.scheme() {
            "http" | "https" if url.query().is_none() && url.fragment().is_none() => Ok(Self::Url(url)),
            "http" | "https" => Err(wrong("it has a query or a fragment".to_owned())),
            scheme => Err(wrong(format!("`{scheme}` is neither http, https nor unix"))),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn without_certificates() -> rustls::ClientConfig {
    rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_server_s_url_is_checked() {
        assert_eq!(connect(&Access::to("http://a:1/base/")).unwrap().url(&["x"]).as_str(), "http://a:1/base/v1/x");
        for bad in ["", "a:1", "ftp://a", "http://a?x", "127.0.0.1:8080", "unix://run/o.sock"] {
            assert_eq!(check_address(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_is_spoken_to_with_token_and_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let mut access = Access::to(&format!("unix://{}", path.display()));
        (access.token, access.tenant) = (Some(Zeroizing::new("orc_x".to_owned())), Some("blue".to_owned()));
        let client = connect(&access).unwrap();
        let heard = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 65_536];
            let read = socket.read(&mut request).await.unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        client.get(&["health"], &[]).await.unwrap();
        let heard = heard.await.unwrap();
        for expected in ["GET /v1/health HTTP/1.1", "authorization: Bearer orc_x", "orchestrator-tenant: blue"] {
            assert!(heard.contains(expected), "{expected} is not in {heard}");
        }
        assert!(!format!("{client:?}").contains("orc_x"));
    }

    #[test]
    fn authorities_are_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "no certificate").unwrap();
        assert_eq!(authorities(&path).unwrap_err().exit_code(), 2);
    }
}
