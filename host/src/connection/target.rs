//! What a guest may write as a request's target: it stays below the connection's base URL however the other side reads
//! it. Pure text; nothing here resolves or sends.

use percent_encoding::percent_decode;
use url::Url;

/// Longer targets are refused, bytes; servers commonly stop at 8 KiB.
const TARGET_BYTES_MAX: usize = 8 << 10;

/// Joins a target, `/path?query` already percent-encoded, onto the path of a connection's base URL. An empty target is the
/// base URL itself, as that of a webhook.
///
/// # Errors
/// The text says what to change: the target is no path and query, or could leave the base URL (dot segments, also
/// encoded once or twice; backslashes; a second leading slash; a whole URL).
pub fn join(base: &Url, target: &str) -> Result<Url, String> {
    if target.is_empty() {
        return Ok(base.clone());
    }
    check(target)?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut url = base.clone();
    let joined = format!("{}{path}", base.path().trim_end_matches('/'));
    url.set_path(&joined);
    url.set_query(query);
    // The parser must have taken the path as it is: what it changes, it could change into something else.
    if url.path() != joined {
        return Err("write the target's path percent-encoded: letters, digits and `-._~!$&'()*+,;=:@/` stand as they \
                    are, everything else as `%XX`"
            .to_owned());
    }
    Ok(url)
}

/// Checks the part of an absolute URL that a guest chose: no user, no fragment, `http` or `https`, a target as above.
///
/// # Errors
/// The text says what to change.
pub fn absolute(text: &str) -> Result<Url, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err("without a connection the target is an absolute `https://` or `http://` URL".to_owned());
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains(['@', '\\', '%', '#']) {
        return Err("write the URL's host as `host` or `host:port`, without a user".to_owned());
    }
    let url = Url::parse(&format!("{}{}/", &text[..text.len() - rest.len()], authority))
        .map_err(|error| format!("write a valid URL: {error}"))?;
    if target.starts_with('/') { join(&url, target) } else { join(&url, &format!("/{target}")) }
}

fn check(target: &str) -> Result<(), String> {
    if target.len() > TARGET_BYTES_MAX {
        return Err(format!(
            "shorten the target: it has {} bytes, at most {TARGET_BYTES_MAX} are allowed",
            target.len()
        ));
    }
    if !target.starts_with('/') {
        return Err("start the target with `/`: it is a path below the connection's base URL, never a URL".to_owned());
    }
    if target.starts_with("//") {
        return Err("start the target with one `/`, not two".to_owned());
    }
    if let Some(bad) = target.chars().find(|c| !c.is_ascii_graphic() || "\\#\"<>^`{|}".contains(*c)) {
        return Err(format!("percent-encode `{}` in the target", bad.escape_default()));
    }
    check_percent(target)?;
    check_dots(target)
}

fn check_percent(target: &str) -> Result<(), String> {
    let bytes = target.as_bytes();
    let complete = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    match (0..bytes.len()).find(|at| bytes[*at] == b'%' && !complete(*at)) {
        Some(at) => Err(format!("write `%25` for the `%` at byte {at} of the target")),
        None => Ok(()),
    }
}

/// Some servers and proxies decode a path once more than they should, and take an encoded slash for a slash: neither
/// reading may show a dot segment.
fn check_dots(target: &str) -> Result<(), String> {
    let mut path = target.split('?').next().unwrap_or_default().as_bytes().to_vec();
    for _ in 0..3 {
        if path.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| matches!(segment, b"." | b"..")) {
            return Err("remove the segments `.` and `..` from the target, encoded ones too".to_owned());
        }
        path = percent_decode(&path).collect();
    }
    Ok(())
}

/// The target that leads from `base` to `url`, where `url` lies below it: what a guest may see of a `Location`.
pub fn relative(base: &Url, url: &Url) -> Option<String> {
    if url.origin() != base.origin() {
        return None;
    }
    let path = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    path.starts_with('/').then(|| format!("{path}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        Url::parse("https://storage.example:8443/v1beta/tenant/").unwrap()
    }

    #[test]
    fn a_target_lands_below_the_base_url() {
        let check = |target: &str, expected: &str| {
            assert_eq!(join(&base(), target).unwrap().as_str(), expected, "{target}");
        };
        check("/volumes", "https://storage.example:8443/v1beta/tenant/volumes");
        check("/", "https://storage.example:8443/v1beta/tenant/");
        check("", "https://storage.example:8443/v1beta/tenant/");
        check("/a?b=c&d", "https://storage.example:8443/v1beta/tenant/a?b=c&d");
        check("/a%20b/%C3%A4+c", "https://storage.example:8443/v1beta/tenant/a%20b/%C3%A4+c");
        check("/a//b", "https://storage.example:8443/v1beta/tenant/a//b"); // An object's key may have an empty part.
        check("/..a/b..", "https://storage.example:8443/v1beta/tenant/..a/b..");
        check("/a?next=../b", "https://storage.example:8443/v1beta/tenant/a?next=../b");
        check("/~a!$&'()*,;=:@", "https://storage.example:8443/v1beta/tenant/~a!$&'()*,;=:@");
    }

    #[test]
    fn a_target_that_could_leave_the_base_url_is_refused() {
        for bad in [
            "volumes",
            "//evil.example/",
            "https://evil.example/",
            "/../admin",
            "/a/..",
            "/./a",
            "/%2e%2e/admin",
            "/%2E./admin",
            "/a%2f..%2fb",
            "/a%2F%2e%2e%2Fb",
            "/%252e%252e/admin",
            "/..\\admin",
            "/a%5c..%5cb",
            "/\\evil.example",
            "/a#b",
            "/a b",
            "/a\r\nHost: evil",
            "/a\0",
            "/ä",
            "/a%",
            "/a%2",
            "/a%zz",
            "/{a}",
        ] {
            assert!(join(&base(), bad).is_err(), "{bad:?}");
        }
        assert!(join(&base(), &format!("/{}", "a".repeat(TARGET_BYTES_MAX))).is_err());
    }

    #[test]
    fn an_absolute_url_has_a_plain_host() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(absolute(text).ok().map(String::from).as_deref(), expected, "{text}");
        };
        check("https://api.example/a?b", Some("https://api.example/a?b"));
        check("https://api.example", Some("https://api.example/"));
        check("https://api.example?a=b", Some("https://api.example/?a=b"));
        check("http://127.0.0.1:9000/x", Some("http://127.0.0.1:9000/x"));
        for bad in [
            "ftp://a/",
            "/a",
            "https://",
            "https:///a",
            "https://u@a/",
            "https://a\\b/",
            "https://a/../b",
            "https://a#b",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn a_location_below_the_base_is_shown_as_a_target() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(relative(&base(), &Url::parse(url).unwrap()).as_deref(), expected, "{url}");
        };
        check("https://storage.example:8443/v1beta/tenant/volumes/1?x", Some("/volumes/1?x"));
        check("https://storage.example:8443/v1beta/tenants", None);
        check("https://storage.example/v1beta/tenant/volumes/1", None);
    }
}
