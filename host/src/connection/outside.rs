//! Absolute URLs of granted hosts: no connection, no authentication, and no way into the server's own network. A granted
//! name that resolves to a private, loopback or link-local address is refused at the moment of connecting, so that
//! changing a name's address after the check gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use url::Url;

use super::client::{Incoming, Outgoing, SendError, StandIn, remove_hidden};
use super::transport::{self, Carrier};

/// The default and upper limit of a request's time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Exchanges with granted hosts under way at once over all instances; they have no connection whose limit would hold.
const EXCHANGES_MAX: usize = 64;

/// Sends requests to granted hosts.
#[derive(Debug)]
pub struct Outside {
    carrier: Carrier,
    places: Arc<Semaphore>,
}

impl Outside {
    /// Makes the client. Nothing is sent.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn new() -> Result<Self, String> {
        let carrier = Carrier::Network(transport::client(None, Some(Arc::new(PublicOnly)))?);
        Ok(Self { carrier, places: Arc::new(Semaphore::new(EXCHANGES_MAX)) })
    }

    /// An outside where nobody is but `stand_in`.
    pub fn standing_in(stand_in: Arc<dyn StandIn>) -> Self {
        Self { carrier: Carrier::StandIn(stand_in), places: Arc::new(Semaphore::new(EXCHANGES_MAX)) }
    }

    /// Sends a request to a URL whose host was granted; `outgoing.target` is not looked at.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, url: Url, outgoing: Outgoing) -> Result<Incoming, SendError> {
        let limit = outgoing.timeout.map_or(TIMEOUT, |asked| asked.min(TIMEOUT));
        let mut incoming = self.exchange(url, outgoing, limit).await?;
        remove_hidden(&mut incoming.headers);
        Ok(incoming)
    }

    /// The same within any `limit`, with all fields of the response.
    ///
    /// # Errors
    /// See [`SendError`].
    pub(super) async fn exchange(&self, url: Url, outgoing: Outgoing, limit: Duration) -> Result<Incoming, SendError> {
        let deadline = Instant::now() + limit;
        let Ok(Ok(permit)) = tokio::time::timeout_at(deadline.into(), self.places.clone().acquire_owned()).await else {
            return Err(SendError::Unavailable(format!("all {EXCHANGES_MAX} exchanges with granted hosts are in use")));
        };
        let Outgoing { method, headers, payload, .. } = outgoing;
        transport::send(&self.carrier, method, url, headers, payload, deadline, Some(permit)).await
    }
}

/// Resolves names to public addresses only. Literal addresses never come here: they are granted as such or not at all.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name has no public address; grant a private one as a literal address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public internet. Refused: this machine, private and shared networks, link-local
/// ones (cloud metadata), multicast, reserved ranges, and addresses that carry one of these inside an IPv6 address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !(reserved
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => s[5] == 0xffff && is_public_v4(embedded(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(embedded(high, low)),
        [0x64, 0xff9b, ..] | [0x2001, 0, ..] | [0x2001, 0xdb8, ..] | [0x100, 0, 0, 0, ..] => false,
        [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // Only 2000::/3 is global unicast; this leaves out fc00::/7, fe80::/10, fec0::/10 and ff00::/8.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached_by_name() {
        let check = |address: &str, expected: bool| {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        };
        for public in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
        {
            check(public, true);
        }
        for private in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            check(private, false);
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_when_it_is_resolved() {
        assert!(PublicOnly.resolve("localhost".parse().unwrap()).await.is_err());
    }
}
