//! The address that Move2Kube is given for a repository: `git+ssh://…@branch` or `git+https://…@branch`, and nothing else.

use orchestrator_sdk::Error;
use serde::Deserialize;

/// How Move2Kube reads the repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// With the key that Move2Kube has.
    #[default]
    Ssh,
    /// Without credentials: a public repository.
    Https,
}

/// The address of a branch for Move2Kube, and the repository's own address in it. `http://`, `https://`, `git://`,
/// `ssh://` and `user@host:path` are all understood.
///
/// # Errors
/// `validation` 400 for anything else.
pub fn remote_source(url: &str, branch: &str, transport: Transport) -> Result<(String, String), Error> {
    let at = location(url.trim()).ok_or_else(|| {
        Error::validation(format!(
            "`{url}` is no address of a repository: write `https://host/path`, `http://host/path`, `ssh://host/path` \
             or `user@host:path`"
        ))
    })?;
    let repository = match transport {
        Transport::Ssh => format!("ssh://{at}"),
        Transport::Https => format!("https://{}", at.rsplit_once('@').map_or(at.as_str(), |(_, host)| host)),
    };
    Ok((format!("git+{repository}@{branch}"), repository))
}

/// User, host and path, without a scheme.
fn location(url: &str) -> Option<String> {
    let known = ["https://", "http://", "git://", "ssh://", "git+ssh://", "git+https://"];
    let lower = url.to_ascii_lowercase();
    if let Some(scheme) = known.iter().find(|scheme| lower.starts_with(**scheme)) {
        let at = url.get(scheme.len()..)?.trim_end_matches('/');
        let (host, path) = at.split_once('/')?;
        return (!host.is_empty() && !path.is_empty() && !at.contains(char::is_whitespace)).then(|| at.to_owned());
    }
    // `git@host:org/repository.git`
    let (host, path) = url.split_once(':')?;
    let fits = host.contains('@') && !host.contains('/') && !path.is_empty() && !path.starts_with('/');
    (fits && !url.contains(char::is_whitespace)).then(|| format!("{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The original rewrote `https://` only; an `http://` address went to Move2Kube as it was and was refused with 400.
    #[test]
    fn known_bug_http_is_rewritten_like_https() {
        for (url, expected) in [
            ("https://git.example/org/shop.git", "git+ssh://git.example/org/shop.git@main"),
            ("http://git.example/org/shop", "git+ssh://git.example/org/shop@main"),
            ("HTTP://git.example/org/shop/", "git+ssh://git.example/org/shop@main"),
            ("git://git.example/org/shop", "git+ssh://git.example/org/shop@main"),
            ("ssh://git@git.example:2222/org/shop", "git+ssh://git@git.example:2222/org/shop@main"),
            ("git+ssh://git.example/org/shop", "git+ssh://git.example/org/shop@main"),
            ("git@git.example:org/shop.git", "git+ssh://git@git.example/org/shop.git@main"),
        ] {
            assert_eq!(remote_source(url, "main", Transport::Ssh).unwrap().0, expected, "{url}");
        }
    }

    #[test]
    fn a_public_repository_is_read_without_a_key() {
        let (source, repository) = remote_source("http://ann@git.example/org/shop", "v1", Transport::Https).unwrap();
        assert_eq!(
            (source.as_str(), repository.as_str()),
            ("git+https://git.example/org/shop@v1", "https://git.example/org/shop")
        );
    }

    #[test]
    fn what_is_no_repository_is_refused() {
        for url in
            ["", "shop", "ftp://host/path", "https://", "https://host", "https:///path", "/tmp/x", "https://a b/c"]
        {
            assert_eq!(remote_source(url, "main", Transport::Ssh).unwrap_err().problem.status, 400, "{url}");
        }
    }
}
