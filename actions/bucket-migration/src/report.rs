//! `write-report`: one line for each object of the order, written to the destination as a table (CSV) of any length.
//!
//! It tells what the listings tell: an object that the destination wrote since the order was planned was copied by it,
//! others were there before.

use orchestrator_sdk::{Error, log};
use serde::{Deserialize, Serialize};

use crate::input::Buckets;
use crate::listing::{Pair, Pairs};
use crate::s3::{self, Object, Trouble};
use crate::times::to_the_second;
use crate::wire::{Request, Side, Wire};
use crate::xml;

/// Larger than the protocol's smallest part, and below the 8 MiB that a request from guest memory may have.
const PART_BYTES: usize = 6 * 1024 * 1024;

const HEAD: &str = "key,size,modified,sourceEtag,destinationEtag,state\r\n";

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The report's key at the destination.
    pub key: String,
    /// Lines, the head not counted.
    pub lines: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// An upload that an earlier attempt began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    upload: String,
}

/// Writes. Safe to repeat: the same key is written again, and an upload that was left is aborted.
///
/// # Errors
/// When one of the ends cannot be read or written.
pub fn write<W: Wire>(wire: &W, input: &Buckets, checkpoint: Option<Checkpoint>) -> Result<Output, Error> {
    let mut report = Report { wire, input, text: HEAD.to_owned(), upload: None, parts: Vec::new(), bytes: 0 };
    if let Some(Checkpoint { upload }) = checkpoint {
        report.abort(&upload);
    }
    let written = report.write();
    if let (Err(_), Some(upload)) = (&written, report.upload.take()) {
        report.abort(&upload);
    }
    written
}

struct Report<'w, W: Wire> {
    wire: &'w W,
    input: &'w Buckets,
    text: String,
    upload: Option<String>,
    parts: Vec<String>,
    bytes: u64,
}

impl<W: Wire> Report<'_, W> {
    fn write(&mut self) -> Result<Output, Error> {
        let mut lines = 0;
        for pair in Pairs::new(self.wire, self.input, None) {
            let Pair::Source(object, counterpart) = pair? else { continue };
            self.text += &line(&object, counterpart.as_ref(), &self.input.planned_at);
            lines += 1;
            if self.text.len() >= PART_BYTES {
                self.part()?;
            }
        }
        self.finish()?;
        log::info!("the report is `{}` at the destination", self.input.report_key);
        Ok(Output { key: self.input.report_key.clone(), lines, bytes: self.bytes })
    }

    fn part(&mut self) -> Result<(), Error> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => self.begin()?,
        };
        let number = (self.parts.len() + 1).to_string();
        let body = self.take();
        let request = self.request("PUT", &[("partNumber", &number), ("uploadId", &upload)]).body(body);
        let answer = self.call(&request)?;
        self.parts.push(answer.etag());
        Ok(())
    }

    fn begin(&mut self) -> Result<String, Error> {
        let request = self.request("POST", &[("uploads", "")]).header("content-type", "text/csv; charset=utf-8");
        let answer = self.call(&request)?;
        let upload = xml::upload_id(&answer.body).map_err(|why| Error::permanent(why).context("begin the report"))?;
        self.upload = Some(upload.clone());
        self.wire.checkpoint(&Checkpoint { upload: upload.clone() })?;
        Ok(upload)
    }

    fn finish(&mut self) -> Result<(), Error> {
        if self.upload.is_none() {
            let body = self.take();
            let request = self.request("PUT", &[]).header("content-type", "text/csv; charset=utf-8").body(body);
            return self.call(&request).map(drop);
        }
        if !self.text.is_empty() {
            self.part()?;
        }
        let upload = self.upload.clone().unwrap_or_default();
        let list = xml::complete((1..).zip(self.parts.iter().map(String::as_str)));
        let request = self.request("POST", &[("uploadId", &upload)]).header("content-type", "application/xml");
        let answer = self.call(&request.body(list.into_bytes()))?;
        match xml::error(&answer.body) {
            Some(said) => Err(Error::transient(format!("complete the report: {}: {}", said.code, said.message))),
            None => {
                self.upload = None;
                Ok(())
            }
        }
    }

    fn take(&mut self) -> Vec<u8> {
        self.bytes += self.text.len() as u64;
        std::mem::take(&mut self.text).into_bytes()
    }

    fn request(&self, method: &'static str, query: &[(&str, &str)]) -> Request {
        s3::request(Side::Destination, method, &self.input.destination_bucket, &self.input.report_key, query)
    }

    fn call(&self, request: &Request) -> Result<crate::wire::Response, Error> {
        s3::call(self.wire, "write the report", request).map_err(Trouble::into_error)
    }

    fn abort(&self, upload: &str) {
        let request = self.request("DELETE", &[("uploadId", upload)]);
        if let Err(trouble @ (Trouble::Again { .. } | Trouble::Fatal(_))) = s3::call(self.wire, "abort", &request) {
            log::warn!("the report's upload `{upload}` could not be aborted: {}", trouble.into_error());
        }
    }
}

fn line(object: &Object, counterpart: Option<&Object>, planned_at: &str) -> String {
    let state = match counterpart {
        None => "missing",
        Some(copy) if copy.size != object.size => "differs",
        Some(copy) if !object.same_by_etag(copy) && !object.in_parts() && !copy.in_parts() => "differs",
        Some(copy) if to_the_second(&copy.modified) >= to_the_second(planned_at) => "copied",
        Some(_) => "present",
    };
    let copied = counterpart.map_or("", |copy| copy.etag.as_str());
    let cells = [&object.key, &object.size.to_string(), &object.modified, &object.etag, copied, state].map(quoted);
    cells.join(",") + "\r\n"
}

/// A cell as RFC 4180 writes it.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_became_of_an_object() {
        let object = |etag: &str, size, modified: &str| Object {
            key: "a,\"b\"".into(),
            size,
            etag: etag.into(),
            modified: modified.into(),
        };
        let check = |copy: Option<Object>, expected: &str| {
            let line = line(&object("e", 5, "2026-01-01T00:00:00.000Z"), copy.as_ref(), "2026-01-02T00:00:00Z");
            let (start, state) = line.trim_end().rsplit_once(',').expect("cells");
            assert!(start.starts_with("\"a,\"\"b\"\"\",5,2026-01-01T00:00:00.000Z,e,"), "{line}");
            assert_eq!(state, expected);
        };
        check(None, "missing");
        check(Some(object("e", 4, "2026-01-02T00:00:01.000Z")), "differs");
        check(Some(object("x", 5, "2026-01-02T00:00:01.000Z")), "differs");
        check(Some(object("x-2", 5, "2026-01-02T00:00:00.000Z")), "copied");
        check(Some(object("e", 5, "2026-01-01T23:59:59.000Z")), "present");
    }
}
