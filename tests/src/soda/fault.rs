//! What goes wrong with requests, by order of a test.

use super::world::Asked;

/// Something that goes wrong with some requests.
#[derive(Debug, Clone)]
pub struct Fault {
    method: String,
    path: String,
    /// Fitting requests that pass before it strikes.
    passes: u32,
    /// Requests it still strikes.
    strikes: u32,
    pub(super) after_effect: bool,
    pub(super) kind: Trouble,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// An error of the service with this status.
    Status(u16),
    /// No answer, ever.
    Hang,
    /// The connection breaks before the answer is complete.
    Drop,
    /// The service cannot be reached: nothing is sent. Over a network that is up it is a `Drop`.
    Refuse,
    /// A successful answer that is not JSON.
    Garbled,
    /// A successful answer that tells of nothing: an empty list.
    Empty,
}

impl Fault {
    /// Trouble with the next request of this method to a path that begins like this, before it has any effect.
    pub fn on(method: &str, path: &str, kind: Trouble) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), passes: 0, strikes: 1, after_effect: false, kind }
    }

    /// With the n-th such request from now on, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { passes: nth.saturating_sub(1), ..self }
    }

    /// With so many requests one after another.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { strikes: times, ..self }
    }

    /// After the request has had its effect: only the answer is lost.
    #[must_use]
    pub fn after_effect(self) -> Self {
        Self { after_effect: true, ..self }
    }

    /// Whether it strikes this request.
    pub(super) fn strikes(&mut self, asked: &Asked) -> bool {
        if self.strikes == 0 || !self.fits(asked) {
            return false;
        }
        if self.passes > 0 {
            self.passes -= 1;
            return false;
        }
        self.strikes -= 1;
        true
    }

    /// An empty method or path fits any.
    fn fits(&self, asked: &Asked) -> bool {
        (self.method.is_empty() || self.method == asked.method) && asked.path.starts_with(&self.path)
    }
}
