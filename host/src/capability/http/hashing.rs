//! Whether a transfer's bytes are hashed on their way. They are, unless the guest says with a field of the first request
//! that it does not want the digest: hashing is most of what a transfer costs this machine.

use super::super::wit::orchestrator::http::client::{Error, Header};

/// The field that a guest asks with; it is taken out here and never sent.
const FIELD: &str = "orchestrator-transfer-digest";

/// Takes out of a request's fields whether the bytes are hashed.
pub(super) fn asked(headers: &mut Vec<Header>) -> Result<bool, Error> {
    let Some(at) = headers.iter().position(|header| header.name.eq_ignore_ascii_case(FIELD)) else { return Ok(true) };
    match headers.remove(at).value.as_str() {
        "none" => Ok(false),
        "sha256" => Ok(true),
        _ => Err(Error::InvalidRequest(format!("write `none` or `sha256` into the field `{FIELD}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Option<&str>, expected: Option<bool>) {
        let field = |value: &str| Header { name: "Orchestrator-Transfer-Digest".to_owned(), value: value.to_owned() };
        let mut headers: Vec<Header> = value.map(field).into_iter().collect();
        assert_eq!(asked(&mut headers).ok(), expected, "{value:?}");
        assert!(headers.is_empty(), "the field is never sent");
    }

    #[test]
    fn bytes_are_hashed_unless_the_guest_wants_no_digest() {
        check(None, Some(true));
        check(Some("sha256"), Some(true));
        check(Some("none"), Some(false));
        check(Some("md5"), None);
    }
}
