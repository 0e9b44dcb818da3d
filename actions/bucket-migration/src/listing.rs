//! Walks listings in key order, page by page: one bucket, or two side by side. Never holds more than two pages of
//! each, so a bucket may have any number of objects.

use std::collections::VecDeque;
use std::iter::Peekable;

use orchestrator_sdk::Error;

use crate::input::Buckets;
use crate::s3::{self, Object, Trouble};
use crate::selection::Selection;
use crate::wire::{Request, Side, Wire};
use crate::xml;

/// A walk through one listing. The next page is asked for while the present one is used.
pub struct Listing<'w, W: Wire> {
    wire: &'w W,
    side: Side,
    bucket: String,
    prefix: String,
    page: VecDeque<Object>,
    coming: Option<(Request, Option<W::Exchange>)>,
    last: Option<String>,
}

impl<'w, W: Wire> Listing<'w, W> {
    /// Starts behind `after`, or at the beginning.
    pub fn new(wire: &'w W, side: Side, bucket: &str, prefix: &str, after: Option<&str>) -> Self {
        let mut listing = Self {
            wire,
            side,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            page: VecDeque::new(),
            coming: None,
            last: after.map(str::to_owned),
        };
        let start = after.map(|after| ("start-after", after));
        listing.ask(start);
        listing
    }

    fn ask(&mut self, from: Option<(&str, &str)>) {
        let mut query = vec![("list-type", "2"), ("encoding-type", "url"), ("max-keys", "1000")];
        if !self.prefix.is_empty() {
            query.push(("prefix", &self.prefix));
        }
        query.extend(from);
        let request = s3::request(self.side, "GET", &self.bucket, "", &query);
        // A request that cannot be started now is sent when the page is needed, and its trouble shows there.
        let exchange = self.wire.start(request.clone()).ok();
        self.coming = Some((request, exchange));
    }

    fn fill(&mut self) -> Result<(), Error> {
        let Some((request, exchange)) = self.coming.take() else { return Ok(()) };
        let doing = format!("list {} bucket `{}`", self.side.connection(), self.bucket);
        let early = exchange.and_then(|exchange| s3::judge(&doing, self.wire.finish(exchange)).ok());
        let response = match early {
            Some(outcome) => outcome.response,
            None => s3::call(self.wire, &doing, &request).map_err(Trouble::into_error)?,
        };
        let page = xml::page(&response.body).map_err(|why| Error::permanent(why).context(&doing))?;
        self.page = page.objects.into();
        if let Some(next) = page.next {
            self.ask(Some(("continuation-token", &next)));
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Object>, Error> {
        while self.page.is_empty() && self.coming.is_some() {
            self.fill()?;
        }
        let Some(object) = self.page.pop_front() else { return Ok(None) };
        if self.last.as_ref().is_some_and(|last| *last >= object.key) {
            let detail =
                format!("the {} bucket is not listed in key order, at `{}`", self.side.connection(), object.key);
            return Err(Error::permanent(detail).cure("directory buckets and the like cannot be migrated yet"));
        }
        self.last = Some(object.key.clone());
        Ok(Some(object))
    }
}

impl<W: Wire> Iterator for Listing<'_, W> {
    type Item = Result<Object, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// What a walk over two listings side by side comes upon.
#[derive(Debug, PartialEq, Eq)]
pub enum Pair {
    /// An object of the source that is chosen, with the destination's of the same key.
    Source(Object, Option<Object>),
    /// An object that only the destination has.
    Extra(Object),
}

/// Both listings side by side, with the objects that an order is about.
pub struct Pairs<'w, W: Wire> {
    source: Peekable<Listing<'w, W>>,
    destination: Option<Peekable<Listing<'w, W>>>,
    selection: Selection,
    extras: bool,
    /// Objects of the source that are not chosen.
    pub filtered: u64,
}

impl<'w, W: Wire> Pairs<'w, W> {
    /// Starts behind `after`, or at the beginning.
    pub fn new(wire: &'w W, input: &Buckets, after: Option<&str>) -> Self {
        let listing = |side, bucket: &str| Listing::new(wire, side, bucket, &input.prefix, after).peekable();
        Self {
            source: listing(Side::Source, &input.source_bucket),
            destination: Some(listing(Side::Destination, &input.destination_bucket)),
            selection: Selection::of(input),
            extras: false,
            filtered: 0,
        }
    }

    /// The same for a destination that does not exist yet.
    pub fn without_destination(wire: &'w W, input: &Buckets) -> Self {
        let source = Listing::new(wire, Side::Source, &input.source_bucket, &input.prefix, None).peekable();
        Self { source, destination: None, selection: Selection::of(input), extras: false, filtered: 0 }
    }

    /// With what only the destination has.
    #[must_use]
    pub fn with_extras(self) -> Self {
        Self { extras: true, ..self }
    }

    fn advance(&mut self) -> Result<Option<Pair>, Error> {
        loop {
            let source = peeked(Some(&mut self.source))?;
            let destination = peeked(self.destination.as_mut())?;
            match (source, destination) {
                (None, None) => return Ok(None),
                (None, Some(_)) if !self.extras => return Ok(None),
                (Some(source), destination) if destination.as_ref().is_none_or(|key| *key >= source) => {
                    let counterpart = if destination == Some(source) { self.take_destination()? } else { None };
                    let Some(object) = self.source.next().transpose()? else { return Ok(None) };
                    if self.selection.takes(&object) {
                        return Ok(Some(Pair::Source(object, counterpart)));
                    }
                    self.filtered += 1;
                }
                _ => {
                    let extra = self.take_destination()?.filter(|extra| self.selection.names(&extra.key));
                    if let Some(extra) = extra.filter(|_| self.extras) {
                        return Ok(Some(Pair::Extra(extra)));
                    }
                }
            }
        }
    }

    fn take_destination(&mut self) -> Result<Option<Object>, Error> {
        self.destination.as_mut().and_then(Iterator::next).transpose()
    }
}

/// The key that a listing comes upon next.
fn peeked<W: Wire>(listing: Option<&mut Peekable<Listing<'_, W>>>) -> Result<Option<String>, Error> {
    match listing.and_then(Peekable::peek) {
        None => Ok(None),
        Some(Ok(object)) => Ok(Some(object.key.clone())),
        Some(Err(error)) => Err(error.clone()),
    }
}

impl<W: Wire> Iterator for Pairs<'_, W> {
    type Item = Result<Pair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
