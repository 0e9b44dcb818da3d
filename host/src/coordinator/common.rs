//! What all followers have in common: an event, and the form in which it goes out, made once for all of them.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// An event that followers share.
#[derive(Debug)]
pub struct Common<T> {
    event: T,
    form: OnceLock<Bytes>,
}

/// What somebody is told who follows many instances.
#[derive(Debug, Clone)]
pub enum Told<T> {
    /// An event.
    Event(Arc<Common<T>>),
    /// She was too slow: some events are lost to her.
    Missed,
}

impl<T> Common<T> {
    /// An event to share.
    pub fn new(event: T) -> Arc<Self> {
        Arc::new(Self { event, form: OnceLock::new() })
    }

    /// The form in which it goes out; whoever asks first makes it.
    pub fn form(&self, make: impl FnOnce(&T) -> Bytes) -> Bytes {
        self.form.get_or_init(|| make(&self.event)).clone()
    }
}

impl<T> Deref for Common<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_made_once_for_all() {
        let event = Common::new(7_u8);
        let other = event.clone();
        let first = event.form(|number| Bytes::from(vec![*number; 3]));
        let again = other.form(|_| unreachable!("it is there already"));
        assert_eq!((first.as_ptr(), &first[..]), (again.as_ptr(), &[7_u8, 7, 7][..]));
    }
}
