//! `Authorization: Digest` (RFC 7616): reads the challenge, answers it once.

use ::http::HeaderMap;
use ::http::header::WWW_AUTHENTICATE;
use md5::Md5;
use md5::digest::Digest as _;
use ring::rand::{SecureRandom, SystemRandom};

use super::{Wire, failure};
use crate::model::Failure;

/// How the other side wants the digest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Option<String>,
    qop: Vec<String>,
    userhash: bool,
}

/// A text that nobody can guess and nobody has used before.
pub(super) fn nonce() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("the kernel's generator does not fail after start-up");
    hex::encode(bytes)
}

/// The value of `Authorization` that answers the challenge.
pub(super) fn answer(
    headers: &HeaderMap,
    wire: &Wire,
    username: &str,
    password: &str,
    cnonce: &str,
) -> Result<String, Failure> {
    let place = format!("{} {}", wire.method, wire.way);
    let Some(target) = wire.way.sent_target() else {
        return Err(failure::configuration("a connection has its own authentication; remove `digest`"));
    };
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges = texts.flat_map(challenges).collect::<Vec<_>>();
    let known = |name: &str| challenges.iter().find(|challenge| family(challenge) == Some(name));
    let Some(challenge) = known("SHA-256").or_else(|| known("MD5")) else {
        let text = format!("{place} was answered 401 without a digest challenge of SHA-256 or MD5");
        return Err(failure::unauthenticated(text));
    };
    challenge
        .answer(wire, &target, username, password, cnonce)
        .ok_or_else(|| failure::unauthenticated(format!("{place} asks for a quality of protection that is not known")))
}

fn family(challenge: &Challenge) -> Option<&'static str> {
    let name = challenge.algorithm.as_deref().unwrap_or("MD5").to_ascii_uppercase();
    match name.strip_suffix("-SESS").unwrap_or(&name) {
        "SHA-256" => Some("SHA-256"),
        "MD5" => Some("MD5"),
        _ => None,
    }
}

impl Challenge {
    fn hash(&self, text: &[u8]) -> String {
        match family(self) {
            Some("SHA-256") => hex::encode(ring::digest::digest(&ring::digest::SHA256, text)),
            _ => hex::encode(Md5::digest(text)),
        }
    }

    fn answer(&self, wire: &Wire, target: &str, username: &str, password: &str, cnonce: &str) -> Option<String> {
        let qop = match self.qop.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => None,
            offered if offered.contains(&"auth") => Some("auth"),
            offered if offered.contains(&"auth-int") => Some("auth-int"),
            _ => return None,
        };
        let session = self.algorithm.as_ref().is_some_and(|name| name.to_ascii_lowercase().ends_with("-sess"));
        let mut who = self.hash(format!("{username}:{}:{password}", self.realm).as_bytes());
        if session {
            who = self.hash(format!("{who}:{}:{cnonce}", self.nonce).as_bytes());
        }
        let mut what = format!("{}:{target}", wire.method);
        if qop == Some("auth-int") {
            what = format!("{what}:{}", self.hash(wire.body.as_deref().unwrap_or_default()));
        }
        let what = self.hash(what.as_bytes());
        let response = match qop {
            Some(qop) => self.hash(format!("{who}:{}:00000001:{cnonce}:{qop}:{what}", self.nonce).as_bytes()),
            None => self.hash(format!("{who}:{}:{what}", self.nonce).as_bytes()),
        };
        Some(self.field(target, username, cnonce, qop, session, &response))
    }

    fn field(
        &self,
        target: &str,
        username: &str,
        cnonce: &str,
        qop: Option<&str>,
        session: bool,
        response: &str,
    ) -> String {
        let name = match self.userhash {
            true => self.hash(format!("{username}:{}", self.realm).as_bytes()),
            false => username.to_owned(),
        };
        let mut field = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response={}",
            quoted(&name),
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(target),
            quoted(response)
        );
        let mut add = |text: String| field.push_str(&format!(", {text}"));
        if let Some(algorithm) = &self.algorithm {
            add(format!("algorithm={algorithm}"));
        }
        if let Some(opaque) = &self.opaque {
            add(format!("opaque={}", quoted(opaque)));
        }
        if let Some(qop) = qop {
            add(format!("qop={qop}, nc=00000001"));
        }
        if qop.is_some() || session {
            add(format!("cnonce={}", quoted(cnonce)));
        }
        if self.userhash {
            add("userhash=true".to_owned());
        }
        field
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The digest challenges of one field, which may hold several of several schemes (RFC 9110, 11.6.1).
fn challenges(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut inside = false;
    for part in parts(text) {
        let (scheme, parameter) = match part.split_once(' ') {
            Some((scheme, rest)) if !scheme.contains('=') => (Some(scheme), rest.trim()),
            None if !part.contains('=') => (Some(part), ""),
            _ => (None, part),
        };
        if let Some(scheme) = scheme {
            inside = scheme.eq_ignore_ascii_case("digest");
            if inside {
                found.push(Challenge::default());
            }
        }
        if let (true, Some(challenge), Some((name, value))) = (inside, found.last_mut(), parameter.split_once('=')) {
            take(challenge, name.trim(), unquoted(value.trim()));
        }
    }
    found
}

fn take(challenge: &mut Challenge, name: &str, value: String) {
    match name.to_ascii_lowercase().as_str() {
        "realm" => challenge.realm = value,
        "nonce" => challenge.nonce = value,
        "opaque" => challenge.opaque = Some(value),
        // It is sent back without quotes.
        "algorithm" if value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
            challenge.algorithm = Some(value);
        }
        "qop" => challenge.qop = value.split(',').map(|one| one.trim().to_ascii_lowercase()).collect(),
        "userhash" => challenge.userhash = value.eq_ignore_ascii_case("true"),
        _ => {}
    }
}

/// The text cut at commas outside of quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.to_owned() };
    let mut plain = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::way::Way;
    use super::*;
    use ::http::Method;
    use url::Url;

    /// The example of RFC 7616, 3.9.1.
    #[test]
    fn the_examples_of_the_standard_are_answered_as_it_says() {
        let url = Url::parse("http://www.example.org/dir/index.html").unwrap();
        let way = Way::Host { asked: url.clone(), actual: url };
        let wire = Wire { method: Method::GET, way, headers: HeaderMap::new(), body: None };
        let base = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                    nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                    opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let check = |headers: &[&str], expected: &str| {
            let fields = headers.iter().map(|text| (WWW_AUTHENTICATE, text.parse().unwrap()));
            let mut map = HeaderMap::new();
            fields.for_each(|(name, value)| {
                map.append(name, value);
            });
            let answer = answer(&map, &wire, "Mufasa", "Circle of Life", cnonce).unwrap();
            assert!(answer.contains(&format!("response=\"{expected}\"")), "{answer}");
            assert!(answer.contains("qop=auth, nc=00000001") && answer.contains("username=\"Mufasa\""), "{answer}");
        };
        let (md5, sha) = (format!("Digest {base}, algorithm=MD5"), format!("Digest {base}, algorithm=SHA-256"));
        check(&[&md5], "8ca523f5e9506fed4657c9700eebdbec");
        check(&[&sha], "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
        check(&[&md5, &sha], "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
        check(&[&format!("Basic realm=\"a, b\", {md5}, Bearer")], "8ca523f5e9506fed4657c9700eebdbec");
    }

    #[test]
    fn a_challenge_is_read_whatever_stands_around_it() {
        let found = challenges(r#"Negotiate, Digest realm="a \"b\", c",nonce=x , userhash=TRUE, Basic realm=y"#);
        let expected =
            Challenge { realm: "a \"b\", c".to_owned(), nonce: "x".to_owned(), userhash: true, ..Challenge::default() };
        assert_eq!(found, [expected]);
        assert_eq!(challenges("Basic realm=\"Digest nonce=1\""), []);
    }
}
