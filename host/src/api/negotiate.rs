//! Which form of an answer a client wants (RFC 9110, 12.5.1): JSON, YAML, or the one form that a route has.

use axum::http::{HeaderMap, header};

use super::operations::JSON;

/// The media type of YAML (RFC 9512).
pub const YAML: &str = "application/yaml";

/// Names that YAML went by before it had one of its own.
const YAML_TOO: [&str; 2] = ["application/x-yaml", "text/yaml"];

/// Ranges of one header that are looked at; a browser sends about eight.
const RANGES_MAX: usize = 64;

/// What a client accepts.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted(Option<Vec<Range>>);

#[derive(Debug, Clone, PartialEq)]
struct Range {
    kind: String,
    subtype: String,
    quality: f32,
}

impl Accepted {
    /// What the headers say; without `Accept` everything is welcome.
    pub fn of(headers: &HeaderMap) -> Self {
        let values: Vec<_> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let ranges: Vec<_> =
            values.iter().flat_map(|text| text.split(',')).filter_map(Range::read).take(RANGES_MAX).collect();
        Self((!ranges.is_empty()).then_some(ranges))
    }

    /// How welcome a media type is, 0 to 1.
    pub fn quality(&self, media_type: &str) -> f32 {
        let Some(ranges) = &self.0 else { return 1.0 };
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/').unwrap_or((&essence, ""));
        let fitting = ranges.iter().filter_map(|range| Some((range.fit(kind, subtype)?, range.quality)));
        fitting.max_by_key(|(fit, _)| *fit).map_or(0.0, |(_, quality)| quality)
    }

    /// Whether an answer that could be JSON is wanted as YAML.
    pub fn wants_yaml(&self) -> bool {
        self.yaml() > self.quality(JSON)
    }

    /// Whether either form of structured data is welcome.
    pub fn takes_data(&self) -> bool {
        self.yaml() > 0.0 || self.quality(JSON) > 0.0
    }

    fn yaml(&self) -> f32 {
        YAML_TOO.iter().map(|name| self.quality(name)).fold(self.quality(YAML), f32::max)
    }
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next()?.to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = quality.map_or(Some(1.0), |text| text.parse().ok())?;
        (0.0..=1.0).contains(&quality).then(|| Self { kind: kind.to_owned(), subtype: subtype.to_owned(), quality })
    }

    /// How exactly the range names the type.
    fn fit(&self, kind: &str, subtype: &str) -> Option<u8> {
        match (self.kind == kind, self.subtype == subtype) {
            (true, true) => Some(2),
            (true, false) if self.subtype == "*" => Some(1),
            _ if self.kind == "*" && self.subtype == "*" => Some(0),
            _ => None,
        }
    }
}

/// Whether a media type is YAML under one of its names.
pub fn is_yaml(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    std::iter::once(&YAML).chain(&YAML_TOO).any(|name| essence.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_form_is_the_one_that_is_most_welcome() {
        let check = |accept: Option<&'static str>, yaml: bool, data: bool, markdown: bool| {
            let values = accept.map(|text| (header::ACCEPT, HeaderValue::from_static(text)));
            let accepted = Accepted::of(&HeaderMap::from_iter(values));
            let found =
                (accepted.wants_yaml(), accepted.takes_data(), accepted.quality("text/markdown; charset=a") > 0.0);
            assert_eq!(found, (yaml, data, markdown), "{accept:?}");
        };
        check(None, false, true, true);
        check(Some("*/*"), false, true, true);
        check(Some("application/json"), false, true, false);
        check(Some("application/yaml"), true, true, false);
        check(Some("text/yaml;q=0.5, application/json;q=0.4"), true, true, false);
        check(Some("application/yaml;q=0.5, */*"), false, true, true);
        check(Some("application/*, application/json;q=0"), true, true, false);
        check(Some("text/html"), false, false, false);
        check(Some("text/*"), true, true, true);
        check(Some("*/*;q=0"), false, false, false);
        check(Some("nonsense"), false, true, true);
    }
}
