//! Walks listings in key order, page by page: one bucket, or two side by side. Never holds more than two pages of
//! each, so a bucket may have any number of objects.

use std::collections::VecDeque;
use std::iter::Peekable;

use orchestrator_sdk::Error;

use crate::s3::{self, Object, Trouble};
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

/// Both listings side by side: each source object with the destination's of the same key.
pub struct Pairs<'w, W: Wire> {
    source: Listing<'w, W>,
    destination: Peekable<Listing<'w, W>>,
}

impl<'w, W: Wire> Pairs<'w, W> {
    /// Starts behind `after`, or at the beginning.
    pub fn new(wire: &'w W, source: &str, destination: &str, prefix: &str, after: Option<&str>) -> Self {
        Self {
            source: Listing::new(wire, Side::Source, source, prefix, after),
            destination: Listing::new(wire, Side::Destination, destination, prefix, after).peekable(),
        }
    }

    fn counterpart(&mut self, key: &str) -> Result<Option<Object>, Error> {
        let reached =
            |listed: &Result<Object, Error>| listed.as_ref().map_or(true, |object| object.key.as_str() <= key);
        while let Some(listed) = self.destination.next_if(reached) {
            let object = listed?;
            if object.key == key {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }
}

impl<W: Wire> Iterator for Pairs<'_, W> {
    type Item = Result<(Object, Option<Object>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let object = match self.source.next()? {
            Ok(object) => object,
            Err(error) => return Some(Err(error)),
        };
        let counterpart = self.counterpart(&object.key);
        Some(counterpart.map(|counterpart| (object, counterpart)))
    }
}
