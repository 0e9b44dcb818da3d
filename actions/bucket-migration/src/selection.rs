//! Which objects an order is about: by the beginning and the end of the key, by patterns, by age.

use crate::input::Buckets;
use crate::s3::Object;
use crate::times::to_the_second;

/// The choice of one order.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    suffix: String,
    include: Vec<String>,
    exclude: Vec<String>,
    after: String,
    before: String,
    report: String,
}

impl Selection {
    /// The choice that an order makes. The prefix is the listings' matter.
    pub fn of(input: &Buckets) -> Self {
        Self {
            suffix: input.suffix.clone(),
            include: input.include.clone(),
            exclude: input.exclude.clone(),
            after: input.modified_after.clone(),
            before: input.modified_before.clone(),
            report: input.report_key.clone(),
        }
    }

    /// Whether an object of the source is chosen.
    pub fn takes(&self, object: &Object) -> bool {
        self.names(&object.key) && self.is_of_age(&object.modified)
    }

    /// Whether an object of this name is chosen, whatever its age. The order's own report never is.
    pub fn names(&self, key: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, key));
        key.ends_with(&self.suffix)
            && (self.include.is_empty() || any(&self.include))
            && !any(&self.exclude)
            && (self.report.is_empty() || key != self.report)
    }

    /// An object whose age the server does not tell is chosen.
    fn is_of_age(&self, modified: &str) -> bool {
        let at = to_the_second(modified);
        let late = self.after.is_empty() || at >= to_the_second(&self.after);
        let early = self.before.is_empty() || at < to_the_second(&self.before);
        at.is_empty() || (late && early)
    }
}

/// Whether a key matches a pattern as a whole: `*` stands for any text, `?` for any one character. Linear in the key
/// for each star, without recursion: only the last star is ever tried again.
fn matches(pattern: &str, key: &str) -> bool {
    let (pattern, key): (Vec<char>, Vec<char>) = (pattern.chars().collect(), key.chars().collect());
    let (mut at, mut star) = ((0, 0), None);
    while at.1 < key.len() {
        match pattern.get(at.0) {
            Some('*') => {
                star = Some(at);
                at.0 += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == key[at.1] => at = (at.0 + 1, at.1 + 1),
            _ => match star {
                Some((pattern_at, key_at)) => {
                    star = Some((pattern_at, key_at + 1));
                    at = (pattern_at + 1, key_at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at.0..].iter().all(|left| *left == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_keys() {
        let check = |pattern: &str, key: &str, expected: bool| {
            assert_eq!(matches(pattern, key), expected, "{pattern} {key}");
        };
        check("*.jpg", "a/b/c.jpg", true);
        check("*.jpg", "c.jpg.bak", false);
        check("a/*", "a/b/c", true);
        check("a/*", "b/a/c", false);
        check("a?c", "aüc", true);
        check("a?c", "ac", false);
        check("*a*b*", "xxaxxbxx", true);
        check("*a*b", "xxaxxbxx", false);
        check("", "", true);
        check("*", "", true);
        check("a", "", false);
        check("ab*ab", "ab", false);
    }

    #[test]
    fn an_object_is_chosen_by_name_and_age() {
        let check = |input: Buckets, key: &str, modified: &str, expected: bool| {
            let object = Object { key: key.into(), size: 1, etag: String::new(), modified: modified.into() };
            assert_eq!(Selection::of(&input).takes(&object), expected, "{key} {modified}");
        };
        let input = || Buckets {
            suffix: ".log".into(),
            include: vec!["a/*".into(), "b/*".into()],
            exclude: vec!["*/tmp/*".into()],
            modified_after: "2026-01-01".into(),
            modified_before: "2026-02-01T00:00:00Z".into(),
            report_key: "a/report.log".into(),
            ..Buckets::default()
        };
        check(input(), "a/x.log", "2026-01-01T00:00:00.000Z", true);
        check(input(), "a/x.log", "2026-01-31T23:59:59Z", true);
        check(input(), "a/x.log", "2026-02-01T00:00:00.000Z", false);
        check(input(), "a/x.log", "2025-12-31T23:59:59.999Z", false);
        check(input(), "a/x.log", "", true);
        check(input(), "c/x.log", "2026-01-02T00:00:00Z", false);
        check(input(), "a/tmp/x.log", "2026-01-02T00:00:00Z", false);
        check(input(), "a/x.txt", "2026-01-02T00:00:00Z", false);
        check(input(), "a/report.log", "2026-01-02T00:00:00Z", false);
        check(Buckets::default(), "anything", "", true);
    }
}
