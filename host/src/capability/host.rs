//! Granted hosts: which absolute URLs an action may reach without a connection.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// `host[:port]` or `*.suffix[:port]`, over `https` unless it starts with `http://`.
///
/// `*.example.com` means every host below `example.com`, at any depth, but not `example.com` itself. Without a port it
/// is the scheme's own. A private, loopback or link-local address is only reached where the pattern is that literal
/// address: a name that resolves to one is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    secure: bool,
    wildcard: bool,
    host: String,
    port: u16,
}

/// Why a text is not a host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a host pattern: {rule}")]
pub struct HostPatternError {
    /// The offending text, cut at 100 characters.
    pub text: String,
    /// What is allowed.
    pub rule: &'static str,
}

const RULE: &str =
    "write `host`, `host:port` or `*.suffix:port`; put `http://` in front only where there is no TLS; no path, no user";

impl HostPattern {
    /// Checks and takes the text.
    ///
    /// # Errors
    /// A text that breaks the rule; the error says the rule.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        read(text).ok_or_else(|| HostPatternError { text: text.chars().take(100).collect(), rule: RULE })
    }

    /// Whether the URL's scheme, host and port are those of the pattern.
    pub fn matches(&self, url: &Url) -> bool {
        let scheme = if self.secure { "https" } else { "http" };
        let Some(host) = url.host_str() else { return false };
        url.scheme() == scheme && url.port_or_known_default() == Some(self.port) && self.matches_host(host)
    }

    /// The literal address that the pattern is, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok().filter(|_| !self.wildcard)
    }

    fn matches_host(&self, host: &str) -> bool {
        if !self.wildcard {
            return host == self.host;
        }
        // A literal address has no names below it, whatever its digits look like.
        host.parse::<IpAddr>().is_err()
            && host.strip_suffix(self.host.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }
}

fn read(text: &str) -> Option<HostPattern> {
    let (secure, rest) = match text.strip_prefix("http://") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("https://").unwrap_or(text)),
    };
    let (wildcard, rest) = match rest.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\?#@*%".contains(c)) {
        return None;
    }
    // The same parser that reads the guest's URLs, so that both sides have the same spelling (case, IDNA, IPv6).
    let url = Url::parse(&format!("{}://{rest}/", if secure { "https" } else { "http" })).ok()?;
    let is_name = matches!(url.host()?, Host::Domain(_));
    let host = url.host_str()?.to_owned();
    if wildcard && !is_name || host.ends_with('.') || host.starts_with('.') {
        return None;
    }
    Some(HostPattern { secure, wildcard, host, port: url.port_or_known_default()? })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "" } else { "http://" };
        let star = if self.wildcard { "*." } else { "" };
        write!(formatter, "{scheme}{star}{}", self.host)?;
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => Ok(()),
            (_, port) => write!(formatter, ":{port}"),
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;
    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;
    fn try_from(text: String) -> Result<Self, HostPatternError> {
        Self::parse(&text)
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_own_scheme_host_and_port_only() {
        let check = |pattern: &str, url: &str, expected: bool| {
            let pattern = HostPattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(&Url::parse(url).unwrap()), expected, "{pattern} {url}");
        };
        check("api.example", "https://api.example/x", true);
        check("api.example", "https://API.example:443/x", true);
        check("api.example", "http://api.example/x", false);
        check("api.example", "https://api.example:8443/", false);
        check("api.example", "https://api.example.evil/", false);
        check("api.example", "https://evil/api.example", false);
        check("api.example", "https://api.example@evil/", false);
        check("api.example:8443", "https://api.example:8443/", true);
        check("http://127.0.0.1:9000", "http://127.0.0.1:9000/", true);
        check("http://127.0.0.1:9000", "http://0x7f.1:9000/", true); // One address, one spelling after parsing.
        check("*.example.com", "https://a.example.com/", true);
        check("*.example.com", "https://a.b.example.com/", true);
        check("*.example.com", "https://example.com/", false);
        check("*.example.com", "https://aexample.com/", false);
        check("*.example.com", "https://.example.com/", false);
        check("[::1]:8080", "https://[::1]:8080/", true);
    }

    #[test]
    fn a_text_that_could_be_read_in_two_ways_is_no_pattern() {
        for bad in
            ["", "*", "*.", "a/b", "user@host", "a b", "*.127.0.0.1", "ftp://a", "a:99999", "*.*.a", "a?b", "http://"]
        {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_reads_what_it_writes() {
        for text in ["api.example", "*.example:8443", "http://127.0.0.1:9000", "http://a.example"] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), text);
        }
    }
}
