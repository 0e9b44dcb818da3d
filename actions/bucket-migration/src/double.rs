//! Two buckets in memory behind the [`Wire`]: exchanges end in any order, fail when told to, and the whole process can
//! be killed at any of them. What was on its way at that moment may or may not still take effect.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use orchestrator_sdk::Error;
use orchestrator_sdk::progress::Measure;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::input::{Buckets, ServerSide};
use crate::wire::{Broken, Outcome, Request, Response, Side, Wire};

/// What a kill panics with.
pub struct Killed;

#[derive(Clone)]
pub struct Stored {
    pub body: Vec<u8>,
    pub etag: String,
    pub headers: Vec<(String, String)>,
    /// As the field `x-amz-tagging` writes them.
    pub tags: String,
}

struct Upload {
    key: String,
    headers: Vec<(String, String)>,
    parts: BTreeMap<u32, Vec<u8>>,
}

/// Something that a third party does to the world.
pub type Deed = fn(&mut World);

pub struct World {
    pub source: BTreeMap<String, Stored>,
    pub destination: Option<BTreeMap<String, Stored>>,
    uploads: BTreeMap<String, Upload>,
    upload_ids: u64,
    pub writes: BTreeMap<String, u32>,
    pub parts_written: u32,
    pub stored: Option<String>,
    pub page: usize,
    /// Of 100 exchanges, so many fail in a way that passes.
    pub trouble: u64,
    /// The exchange that takes effect without an answer.
    pub lose_answer: Option<u64>,
    /// Exchanges until the kill.
    pub kill_after: Option<u64>,
    /// Exchanges that have ended.
    pub ended: u64,
    /// Called before an exchange takes effect, once its number is reached.
    pub meanwhile: Option<(u64, Deed)>,
    pub reported: Vec<(u64, u64)>,
    /// Whether the destination's service also has the source's bucket.
    pub one_service: bool,
    /// Whether both connections lead to the destination's bucket.
    pub one_bucket: bool,
    /// A server that stores what it is sent and does not look for `x-amz-copy-source`.
    pub knows_no_copies: bool,
    /// Bytes that were read from the source.
    pub bytes_read: u64,
    /// The key that may not be written.
    pub refused_key: Option<String>,
    random: u64,
}

/// The wire to the world.
pub struct Double(pub RefCell<World>, RefCell<BTreeMap<u64, (Request, Option<Request>)>>, RefCell<u64>);

pub fn etag(body: &[u8]) -> String {
    let mut hash = DefaultHasher::new();
    hash.write(body);
    format!("{:032x}", hash.finish())
}

fn parts_etag<'a>(parts: impl Iterator<Item = &'a Vec<u8>>) -> String {
    let tags: Vec<String> = parts.map(|part| etag(part)).collect();
    format!("{}-{}", etag(tags.concat().as_bytes()), tags.len())
}

impl World {
    pub fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    /// Puts an object into the source, in parts of `part` bytes when given.
    pub fn put(&mut self, key: &str, body: Vec<u8>, part: Option<usize>) {
        let etag = match part {
            Some(part) => parts_etag(body.chunks(part).map(<[u8]>::to_vec).collect::<Vec<_>>().iter()),
            None => etag(&body),
        };
        let headers =
            vec![("content-type".to_owned(), "text/x".to_owned()), ("x-amz-meta-name".to_owned(), key.to_owned())];
        self.source.insert(key.to_owned(), Stored { body, etag, headers, tags: String::new() });
    }

    pub fn dangling(&self) -> usize {
        self.uploads.len()
    }
}

fn tags(headers: &[(String, String)]) -> String {
    headers.iter().find(|(name, _)| name == "x-amz-tagging").map(|(_, tags)| tags.clone()).unwrap_or_default()
}

fn answer(status: u16, body: impl Into<Vec<u8>>) -> Response {
    Response { status, headers: Vec::new(), body: body.into() }
}

fn refuse(status: u16, code: &str) -> Response {
    answer(status, format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

impl Double {
    pub fn new(seed: u64) -> Self {
        let world = World {
            source: BTreeMap::new(),
            destination: Some(BTreeMap::new()),
            uploads: BTreeMap::new(),
            upload_ids: 0,
            writes: BTreeMap::new(),
            parts_written: 0,
            stored: None,
            page: 1_000,
            trouble: 0,
            lose_answer: None,
            kill_after: None,
            ended: 0,
            meanwhile: None,
            reported: Vec::new(),
            one_service: false,
            one_bucket: false,
            knows_no_copies: false,
            bytes_read: 0,
            refused_key: None,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        };
        Self(RefCell::new(world), RefCell::default(), RefCell::default())
    }

    pub fn input() -> Buckets {
        Buckets {
            source_bucket: "from".into(),
            destination_bucket: "to".into(),
            server_side: ServerSide::Never,
            ..Buckets::default()
        }
    }

    pub fn stored<T: DeserializeOwned>(&self) -> Option<T> {
        self.0.borrow().stored.as_deref().map(|text| serde_json::from_str(text).expect("a checkpoint"))
    }

    /// Ends the process: what is under way may still take effect, but nobody learns of it.
    fn die(&self) -> ! {
        let under_way = std::mem::take(&mut *self.1.borrow_mut());
        for (request, to) in under_way.into_values() {
            if self.0.borrow_mut().random(2) == 0 {
                let _ = self.effect(&request, to.as_ref());
            }
        }
        self.0.borrow_mut().kill_after = None;
        std::panic::panic_any(Killed)
    }

    fn effect(&self, request: &Request, to: Option<&Request>) -> Outcome {
        let mut world = self.0.borrow_mut();
        let response = world.serve(request, request.body.clone().unwrap_or_default());
        match to {
            Some(to) if response.status / 100 == 2 => {
                let moved = Some(response.body.len() as u64);
                Outcome { response: world.serve(to, response.body), moved }
            }
            _ => Outcome { response, moved: None },
        }
    }
}

impl World {
    fn serve(&mut self, request: &Request, body: Vec<u8>) -> Response {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let decode = |text: &str| percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned();
        let query: BTreeMap<String, String> =
            query.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.to_owned(), decode(v))).collect();
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let (bucket, key) = (decode(bucket), decode(key));
        let request = &match self.one_bucket {
            true => Request { side: Side::Destination, ..request.clone() },
            false => request.clone(),
        };
        assert_eq!(bucket, if request.side == Side::Source { "from" } else { "to" });
        if self.refused_key.as_ref() == Some(&key) && matches!(request.method, "PUT" | "POST") {
            return refuse(403, "AccessDenied");
        }
        let from =
            request.headers.iter().find(|(name, _)| name == "x-amz-copy-source").filter(|_| !self.knows_no_copies);
        if let Some((_, from)) = from {
            return self.copy(request, &decode(from), &key, &query);
        }
        if request.side == Side::Destination && self.destination.is_none() {
            if request.method == "PUT" && key.is_empty() {
                self.destination = Some(BTreeMap::new());
                return answer(200, "");
            }
            return if request.method == "HEAD" { answer(404, "") } else { refuse(404, "NoSuchBucket") };
        }
        match (request.method, query.contains_key("uploadId"), query.contains_key("uploads")) {
            ("GET", false, _) if key.is_empty() => self.list(request.side, &query),
            ("HEAD", ..) if key.is_empty() => {
                let headers = vec![("Date".to_owned(), "Sat, 31 Jan 2026 12:00:00 GMT".to_owned())];
                Response { status: 200, headers, body: Vec::new() }
            }
            ("GET", ..) if query.contains_key("tagging") => self.tags(&key),
            ("DELETE", false, _) => {
                self.bucket(request.side).remove(&key);
                answer(204, "")
            }
            ("GET" | "HEAD", false, _) => self.read(request, &key),
            ("GET", true, _) => self.list_parts(&query),
            ("PUT", true, _) => self.put_part(&query, body),
            ("PUT", false, _) => self.put_whole(request, key, body),
            ("POST", _, true) => self.begin(request, key),
            ("POST", true, _) => self.complete(&query),
            ("DELETE", true, _) if self.uploads.remove(&query["uploadId"]).is_none() => refuse(404, "NoSuchUpload"),
            ("DELETE", true, _) => answer(204, ""),
            ("POST", ..) if query.contains_key("delete") => self.delete(request.side, &body),
            other => panic!("a request that the double does not know: {other:?} {}", request.target),
        }
    }

    fn bucket(&mut self, side: Side) -> &mut BTreeMap<String, Stored> {
        match side {
            Side::Source => &mut self.source,
            Side::Destination => self.destination.as_mut().expect("checked before"),
        }
    }

    fn list(&mut self, side: Side, query: &BTreeMap<String, String>) -> Response {
        let page = self.page;
        let after = query.get("continuation-token").or(query.get("start-after")).cloned().unwrap_or_default();
        let prefix = query.get("prefix").cloned().unwrap_or_default();
        let all = self.bucket(side).iter().filter(|(key, _)| **key > after && key.starts_with(&prefix));
        let found: Vec<_> = all.take(page + 1).collect();
        let mut text = String::from("<ListBucketResult><EncodingType>url</EncodingType>");
        for (key, stored) in found.iter().take(page) {
            let key = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
            let (size, etag) = (stored.body.len(), &stored.etag);
            let modified = stored.headers.iter().find(|(name, _)| name == "modified").map(|(_, at)| at.as_str());
            let modified = modified.unwrap_or("2026-01-31T12:00:00.000Z");
            text += &format!("<Contents><Key>{key}</Key><LastModified>{modified}</LastModified>");
            text += &format!("<Size>{size}</Size><ETag>&quot;{etag}&quot;</ETag></Contents>");
        }
        if found.len() > page {
            let last = found[page - 1].0;
            text += &format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>");
        }
        answer(200, text + "</ListBucketResult>")
    }

    fn read(&mut self, request: &Request, key: &str) -> Response {
        let Some(stored) = self.bucket(request.side).get(key) else {
            return if request.method == "HEAD" { answer(404, "") } else { refuse(404, "NoSuchKey") };
        };
        let field = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        if field("if-match").is_some_and(|wanted| wanted.trim_matches('"') != stored.etag) {
            return refuse(412, "PreconditionFailed");
        }
        let mut headers = stored.headers.clone();
        headers.push(("ETag".to_owned(), format!("\"{}\"", stored.etag)));
        headers.push(("Content-Length".to_owned(), stored.body.len().to_string()));
        if !stored.tags.is_empty() && request.method == "GET" {
            headers.push(("x-amz-tagging-count".to_owned(), stored.tags.split('&').count().to_string()));
        }
        let body = match (request.method, field("range")) {
            ("HEAD", _) => Vec::new(),
            (_, Some(range)) => {
                let (start, end) = range["bytes=".len()..].split_once('-').expect("a range");
                let (start, end): (usize, usize) = (start.parse().expect("a start"), end.parse().expect("an end"));
                headers.push(("Content-Range".to_owned(), format!("bytes {start}-{end}/{}", stored.body.len())));
                stored.body[start..=end].to_vec()
            }
            (_, None) => stored.body.clone(),
        };
        self.bytes_read += body.len() as u64;
        Response { status: 200, headers, body }
    }

    fn tags(&self, key: &str) -> Response {
        let tags = self.source[key].tags.split('&').filter_map(|tag| tag.split_once('='));
        let tags = tags.map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"));
        answer(200, format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.collect::<String>()))
    }

    /// A copy that the destination makes by itself, of a whole object or of a part.
    fn copy(&mut self, request: &Request, from: &str, key: &str, query: &BTreeMap<String, String>) -> Response {
        if !self.one_service {
            return refuse(404, "NoSuchBucket");
        }
        let field = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let original = from.strip_prefix("/from/").and_then(|key| self.source.get(key)).cloned();
        let Some(original) = original else { return refuse(404, "NoSuchKey") };
        if field("x-amz-copy-source-if-match").is_some_and(|wanted| wanted.trim_matches('"') != original.etag) {
            return refuse(412, "PreconditionFailed");
        }
        if !query.contains_key("uploadId") {
            // As the real thing does: the copy of an object in parts has the digest of the whole.
            let stored = Stored { etag: etag(&original.body), ..original };
            let answered = format!("<CopyObjectResult><ETag>\"{}\"</ETag></CopyObjectResult>", stored.etag);
            *self.writes.entry(key.to_owned()).or_default() += 1;
            self.bucket(Side::Destination).insert(key.to_owned(), stored);
            return answer(200, answered);
        }
        let range = field("x-amz-copy-source-range").expect("a range");
        let (start, end) = range["bytes=".len()..].split_once('-').expect("a range");
        let (start, end): (usize, usize) = (start.parse().expect("a start"), end.parse().expect("an end"));
        let stored = self.put_part(query, original.body[start..=end].to_vec());
        let etag = stored.etag();
        match stored.status {
            200 => answer(200, format!("<CopyPartResult><ETag>\"{etag}\"</ETag></CopyPartResult>")),
            _ => stored,
        }
    }

    fn put_whole(&mut self, request: &Request, key: String, body: Vec<u8>) -> Response {
        *self.writes.entry(key.clone()).or_default() += 1;
        let stored = Stored { etag: etag(&body), body, headers: request.headers.clone(), tags: tags(&request.headers) };
        self.bucket(request.side).insert(key, stored);
        answer(200, "")
    }

    fn begin(&mut self, request: &Request, key: String) -> Response {
        self.upload_ids += 1;
        let id = format!("u{}", self.upload_ids);
        let upload = Upload { key, headers: request.headers.clone(), parts: BTreeMap::new() };
        self.uploads.insert(id.clone(), upload);
        answer(200, format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"))
    }

    fn put_part(&mut self, query: &BTreeMap<String, String>, body: Vec<u8>) -> Response {
        let Some(upload) = self.uploads.get_mut(&query["uploadId"]) else { return refuse(404, "NoSuchUpload") };
        self.parts_written += 1;
        let headers = vec![("ETag".to_owned(), format!("\"{}\"", etag(&body)))];
        upload.parts.insert(query["partNumber"].parse().expect("a number"), body);
        Response { status: 200, headers, body: Vec::new() }
    }

    fn list_parts(&mut self, query: &BTreeMap<String, String>) -> Response {
        let Some(upload) = self.uploads.get(&query["uploadId"]) else { return refuse(404, "NoSuchUpload") };
        let after: u32 = query["part-number-marker"].parse().expect("a number");
        let mut text = String::from("<ListPartsResult>");
        let found: Vec<_> = upload.parts.range(after + 1..).take(2).collect();
        for (number, part) in found.iter().take(1) {
            let (size, etag) = (part.len(), etag(part));
            text += &format!("<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>{etag}</ETag></Part>");
        }
        if found.len() == 2 {
            let marker = found[0].0;
            text += &format!("<IsTruncated>true</IsTruncated><NextPartNumberMarker>{marker}</NextPartNumberMarker>");
        }
        answer(200, text + "</ListPartsResult>")
    }

    fn complete(&mut self, query: &BTreeMap<String, String>) -> Response {
        let Some(upload) = self.uploads.remove(&query["uploadId"]) else { return refuse(404, "NoSuchUpload") };
        *self.writes.entry(upload.key.clone()).or_default() += 1;
        let etag = parts_etag(upload.parts.values());
        let body = upload.parts.into_values().collect::<Vec<_>>().concat();
        let tags = tags(&upload.headers);
        self.bucket(Side::Destination).insert(upload.key, Stored { body, etag, headers: upload.headers, tags });
        answer(200, "<CompleteMultipartUploadResult/>")
    }

    fn delete(&mut self, side: Side, body: &[u8]) -> Response {
        let text = String::from_utf8(body.to_vec()).expect("UTF-8");
        let mut refused = String::new();
        for object in text.split("<Object>").skip(1) {
            let part = |from: &str, to: &str| {
                object.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map(|(x, _)| x)
            };
            let key = quick_xml::escape::unescape(part("<Key>", "</Key>").expect("a key")).expect("XML").into_owned();
            let wanted = part("<ETag>&quot;", "&quot;").expect("a condition");
            if self.bucket(side).get(&key).is_some_and(|stored| stored.etag == wanted) {
                self.bucket(side).remove(&key);
            } else {
                let key = quick_xml::escape::escape(key.as_str());
                refused += &format!("<Error><Key>{key}</Key><Code>PreconditionFailed</Code></Error>");
            }
        }
        answer(200, format!("<DeleteResult>{refused}</DeleteResult>"))
    }
}

impl Wire for Double {
    type Exchange = u64;

    fn start(&self, request: Request) -> Result<u64, Broken> {
        let mut ids = self.2.borrow_mut();
        *ids += 1;
        self.1.borrow_mut().insert(*ids, (request, None));
        assert!(self.1.borrow().len() <= 16, "the host allows 16 exchanges");
        Ok(*ids)
    }

    fn start_transfer(&self, from: Request, to: Request) -> Result<u64, Broken> {
        let id = self.start(from)?;
        assert!(to.body.is_none());
        if let Some(exchange) = self.1.borrow_mut().get_mut(&id) {
            exchange.1 = Some(to);
        }
        Ok(id)
    }

    fn wait_any(&self, exchanges: &[&u64]) -> usize {
        self.0.borrow_mut().random(exchanges.len() as u64) as usize
    }

    fn finish(&self, exchange: u64) -> Result<Outcome, Broken> {
        let (request, to) = self.1.borrow_mut().remove(&exchange).expect("an exchange is finished once");
        let mut world = self.0.borrow_mut();
        world.ended += 1;
        if let Some((at, meanwhile)) = world.meanwhile
            && world.ended > at
        {
            world.meanwhile = None;
            meanwhile(&mut world);
        }
        let killed = world.kill_after.as_mut().is_some_and(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        let (trouble, kind) = (world.trouble, world.random(100));
        let ended = world.ended;
        let lost = world.lose_answer.take_if(|number| *number == ended).is_some();
        drop(world);
        if killed {
            self.1.borrow_mut().insert(exchange, (request, to));
            self.die();
        }
        if lost {
            let _ = self.effect(&request, to.as_ref());
            return Err(Broken::Lost("timeout".into()));
        }
        match kind {
            kind if kind >= trouble => Ok(self.effect(&request, to.as_ref())),
            kind if kind % 3 == 0 => Ok(Outcome { response: refuse(503, "SlowDown"), moved: None }),
            kind if kind % 3 == 1 => Err(Broken::Lost("refused".into())),
            // It took effect, but the answer is lost.
            _ => {
                let _ = self.effect(&request, to.as_ref());
                Err(Broken::Lost("timeout".into()))
            }
        }
    }

    fn report(&self, measures: &[Measure]) {
        self.0.borrow_mut().reported.push((measures[0].done, measures[1].done));
    }

    fn checkpoint<T: Serialize>(&self, state: &T) -> Result<(), Error> {
        let text = serde_json::to_string(state)?;
        assert!(text.len() < 256 * 1024, "a checkpoint of {} bytes", text.len());
        self.0.borrow_mut().stored = Some(text);
        Ok(())
    }

    fn cancelled(&self) -> bool {
        false
    }
}
