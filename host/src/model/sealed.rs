//! References to secrets inside data: `$secrets.name` gives one, only the edge that sends a request opens it. So a secret
//! passes through expressions and records without being in them. Two characters of a private plane frame the name, which
//! no person types and no standard assigns.

/// Begins a reference.
const OPEN: char = '\u{F0E51}';
/// Ends a reference.
const CLOSE: char = '\u{F0E52}';

/// The reference to a secret.
pub fn sealed(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// The text with each reference replaced by what `reveal` gives for its name.
///
/// # Errors
/// The first that `reveal` gives.
pub fn unseal<E>(text: &str, mut reveal: impl FnMut(&str) -> Result<String, E>) -> Result<String, E> {
    let mut opened = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, reference)) = rest.split_once(OPEN) {
        let Some((name, after)) = reference.split_once(CLOSE) else { break };
        opened.push_str(before);
        opened.push_str(&reveal(name)?);
        rest = after;
    }
    opened.push_str(rest);
    Ok(opened)
}

/// Whether the text holds a reference.
pub fn is_sealed(text: &str) -> bool {
    text.contains(OPEN)
}

/// The text with each reference shown as `$secrets.name`, for people.
pub fn shown(text: &str) -> String {
    unseal(text, |name| Ok::<_, std::convert::Infallible>(format!("$secrets.{name}"))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_opened_wherever_they_stand() {
        let text = format!("Basic {}:{}!", sealed("user"), sealed("pass"));
        assert!(is_sealed(&text) && !is_sealed("Basic"));
        assert_eq!(unseal(&text, |name| Ok::<_, ()>(name.to_uppercase())), Ok("Basic USER:PASS!".to_owned()));
        assert_eq!(unseal(&text, |_| Err("denied")), Err("denied"));
        assert_eq!(shown(&text), "Basic $secrets.user:$secrets.pass!");
        let broken = format!("a{OPEN}b");
        assert_eq!(unseal(&broken, |_| Err("not asked")), Ok(broken.clone()));
    }
}
