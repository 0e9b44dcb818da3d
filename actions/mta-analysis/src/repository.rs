//! Addresses of repositories: when two of them mean the same, and the name of an application for one.

/// The address without what makes no difference: scheme, user, a final `.git` or `/`, the host's case.
pub(crate) fn canonical(url: &str) -> String {
    let rest = url.trim().split_once("://").map_or(url.trim(), |(_, rest)| rest);
    let rest = rest.trim_end_matches('/');
    let rest = rest.strip_suffix(".git").unwrap_or(rest).trim_end_matches('/');
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).to_ascii_lowercase();
    match path {
        "" => host,
        path => format!("{host}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_mean_the_same_are_the_same() {
        for (url, expected) in [
            ("https://GitHub.com/org/App.git", "github.com/org/App"),
            ("http://github.com/org/App/", "github.com/org/App"),
            ("git://ann@github.com/org/App", "github.com/org/App"),
            (" https://git.example:8443/a/b.git/ ", "git.example:8443/a/b"),
            ("https://git.example", "git.example"),
        ] {
            assert_eq!(canonical(url), expected, "{url}");
        }
        assert_ne!(canonical("https://github.com/org/app"), canonical("https://github.com/org/App"));
    }
}
