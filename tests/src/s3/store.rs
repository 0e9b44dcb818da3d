//! `s3s-fs` with what real servers have and it lacks: listings by page with ETags and encoded keys in constant time
//! per page, uploads in parts that write each byte once (`parts`), tags, `If-Match`, reads in large pieces; and with what
//! tests need: counted writes and faults on request.
//!
//! Known limits that stay: `a` and `a/b` cannot both exist (keys are paths), empty or dotted path segments are not kept,
//! and tags are forgotten with the process.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Context;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::parts::{self, StoredPart, Upload};

/// What `encoding-type=url` leaves as it is; the rest becomes `%XX`.
const LISTED_KEY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

/// The piece in which files are read; each costs one hop to a blocking thread, so 4 KiB would dominate the cost.
const READ_BYTES: usize = 256 * 1024;

/// What the protocol allows in one page.
const PAGE_MAX: u32 = 1_000;

/// How often a key was written since the server started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Writes {
    /// Plain uploads that were stored.
    pub puts: u32,
    /// Multipart uploads that were completed.
    pub completes: u32,
    /// Parts that were stored.
    pub parts: u32,
    /// Objects that this server copied by itself.
    pub copies: u32,
    /// Parts that this server copied by itself.
    pub copied_parts: u32,
    /// Plain uploads and completions that took effect after the client that sent them was declared gone.
    pub late: u32,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) modified: Timestamp,
    /// As the field `x-amz-tagging` writes them.
    pub(super) tags: Option<String>,
}

#[derive(Default)]
pub(super) struct Books {
    pub(super) buckets: BTreeMap<String, BTreeMap<String, Entry>>,
    writes: BTreeMap<(String, String), Writes>,
    pub(super) parts: BTreeMap<String, BTreeMap<i32, StoredPart>>,
    pub(super) uploads: BTreeMap<String, Upload>,
    faults: VecDeque<&'static str>,
    refused: BTreeSet<String>,
    locations: BTreeMap<String, String>,
}

tokio::task_local! {
    /// How many clients were gone when the connection that is served was accepted.
    pub(super) static GONE_BEFORE: u64;
}

/// The stored buckets with their index. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    pub(super) files: Arc<FileSystem>,
    pub(super) root: PathBuf,
    books: Arc<Mutex<Books>>,
    page_max: Arc<AtomicU32>,
    clients_gone: Arc<AtomicU64>,
}

impl Store {
    /// Opens the buckets in `dir` and indexes what is there.
    pub(super) async fn open(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let root = dir.canonicalize()?;
        let files = FileSystem::new(&root).map_err(|error| anyhow::anyhow!("open {}: {error:?}", root.display()))?;
        let page_max = Arc::new(AtomicU32::new(PAGE_MAX));
        let (books, clients_gone) = (Arc::default(), Arc::default());
        let store = Self { files: Arc::new(files), root, books, page_max, clients_gone };
        store.index().await?;
        Ok(store)
    }

    async fn index(&self) -> anyhow::Result<()> {
        let failed = |error: s3s::S3Error| anyhow::anyhow!("index the buckets: {error:?}");
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            let Some(bucket) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if bucket.starts_with('.') || !entry.file_type()?.is_dir() {
                continue;
            }
            self.books().buckets.entry(bucket.clone()).or_default();
            let input = ListObjectsV2Input { bucket: bucket.clone(), max_keys: Some(i32::MAX), ..Default::default() };
            let listed = self.files.list_objects_v2(request(input)).await.map_err(failed)?.output;
            for object in listed.contents.into_iter().flatten() {
                let Some(key) = object.key else { continue };
                self.note_written(&bucket, &key, None).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// How often each key of a bucket was written, by key.
    pub fn writes(&self, bucket: &str) -> BTreeMap<String, Writes> {
        let books = self.books();
        books.writes.iter().filter(|((b, _), _)| b == bucket).map(|((_, key), writes)| (key.clone(), *writes)).collect()
    }

    /// Counts one more client as gone; see [`super::S3Server::clients_are_gone`].
    pub(super) fn clients_are_gone(&self) {
        self.clients_gone.fetch_add(1, Ordering::SeqCst);
    }

    /// How many clients were declared gone.
    pub(super) fn clients_gone(&self) -> u64 {
        self.clients_gone.load(Ordering::SeqCst)
    }

    /// Multipart uploads that were neither completed nor aborted, as `bucket/key`.
    pub fn dangling_uploads(&self) -> Vec<String> {
        self.books().uploads.values().map(|Upload { at: (bucket, key), .. }| format!("{bucket}/{key}")).collect()
    }

    /// Makes the next requests fail, one after another: `SlowDown`, `InternalError`, `AccessDenied`.
    pub fn fail_next(&self, codes: &[&'static str]) {
        self.books().faults.extend(codes);
    }

    /// Refuses to write this key, to whoever asks, until it is told again.
    pub fn refuse_writes(&self, key: &str, refuse: bool) {
        let mut books = self.books();
        let _ = if refuse { books.refused.insert(key.to_owned()) } else { books.refused.remove(key) };
    }

    /// Where an object, or a folder of objects, lies on the disk: a test can change it behind the server's back.
    pub fn path(&self, bucket: &str, key: &str) -> PathBuf {
        self.root.join(bucket).join(key)
    }

    /// An object's tags, as the field `x-amz-tagging` writes them.
    pub fn tags(&self, bucket: &str, key: &str) -> Option<String> {
        self.entry(bucket, key)?.tags
    }

    /// Where a bucket was created, as its creator named it.
    pub fn location(&self, bucket: &str) -> Option<String> {
        self.books().locations.get(bucket).cloned()
    }

    /// Answers at most this many keys or parts a page, 1 to 1,000: small values test paging with few objects.
    pub fn page_max(&self, keys: u32) {
        self.page_max.store(keys.clamp(1, PAGE_MAX), Ordering::Relaxed);
    }

    fn writable(&self, key: &str) -> S3Result<()> {
        match self.books().refused.contains(key) {
            true => Err(s3_error!(AccessDenied)),
            false => Ok(()),
        }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn page(&self, wanted: Option<i32>) -> usize {
        let most = self.page_max.load(Ordering::Relaxed) as usize;
        wanted.and_then(|wanted| usize::try_from(wanted).ok()).map_or(most, |wanted| wanted.min(most))
    }

    fn fault(&self) -> S3Result<()> {
        match self.books().faults.pop_front() {
            None => Ok(()),
            Some("SlowDown") => Err(s3_error!(SlowDown, "Please reduce your request rate.")),
            Some("AccessDenied") => Err(s3_error!(AccessDenied)),
            Some(_) => Err(s3_error!(InternalError, "We encountered an internal error. Please try again.")),
        }
    }

    pub(super) fn count(&self, bucket: &str, key: &str, what: impl FnOnce(&mut Writes)) {
        what(self.books().writes.entry((bucket.to_owned(), key.to_owned())).or_default());
    }

    /// Counts an object that was stored by a request of this task.
    pub(super) fn count_stored(&self, bucket: &str, key: &str, what: impl FnOnce(&mut Writes)) {
        let late = GONE_BEFORE.try_with(|gone| *gone < self.clients_gone()).unwrap_or(false);
        self.count(bucket, key, |writes| {
            what(writes);
            writes.late += u32::from(late);
        });
    }

    pub(super) async fn note_written(&self, bucket: &str, key: &str, tags: Option<String>) -> S3Result<()> {
        let input = HeadObjectInput { bucket: bucket.to_owned(), key: key.to_owned(), ..Default::default() };
        let head = self.files.head_object(request(input)).await?.output;
        let entry = Entry {
            size: head.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
            etag: head.e_tag.map(ETag::into_value).unwrap_or_default(),
            modified: head.last_modified.unwrap_or_else(now),
            tags,
        };
        self.books().buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), entry);
        Ok(())
    }

    fn forget(&self, bucket: &str, key: &str) {
        if let Some(keys) = self.books().buckets.get_mut(bucket) {
            keys.remove(key);
        }
    }

    pub(super) fn entry(&self, bucket: &str, key: &str) -> Option<Entry> {
        self.books().buckets.get(bucket)?.get(key).cloned()
    }

    fn etag(&self, bucket: &str, key: &str) -> Option<String> {
        self.entry(bucket, key).map(|entry| entry.etag)
    }

    /// The length of what is to be copied within this server, if its entity tag is the one that was asked for.
    pub(super) fn check_source(&self, bucket: &str, key: &str, wanted: Option<&ETagCondition>) -> S3Result<u64> {
        if !self.books().buckets.contains_key(bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        let entry = self.entry(bucket, key).ok_or_else(|| s3_error!(NoSuchKey))?;
        match matches(wanted, Some(&entry.etag)) {
            true => Ok(entry.size),
            false => Err(s3_error!(PreconditionFailed)),
        }
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

/// A request of our own to the layer below.
pub(super) fn request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: http::Method::GET,
        uri: http::Uri::from_static("/"),
        headers: http::HeaderMap::new(),
        extensions: http::Extensions::new(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

fn matches(condition: Option<&ETagCondition>, etag: Option<&str>) -> bool {
    match (condition, etag) {
        (None, _) | (Some(ETagCondition::Any), Some(_)) => true,
        (Some(ETagCondition::ETag(wanted)), Some(etag)) => wanted.value() == etag,
        (Some(_), None) => false,
    }
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.fault()?;
        let bucket = req.input.bucket.clone();
        let asked = req.input.create_bucket_configuration.as_ref().and_then(|asked| asked.location_constraint.clone());
        let answer = self.files.create_bucket(req).await?;
        let mut books = self.books();
        books.locations.extend(asked.map(|location| (bucket.clone(), location.as_str().to_owned())));
        books.buckets.entry(bucket).or_default();
        Ok(answer)
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.fault()?;
        self.files.head_bucket(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.files.get_bucket_location(req).await
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        self.files.list_buckets(req).await
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.fault()?;
        let input = req.input;
        let most = self.page(input.max_keys);
        let after = match input.continuation_token.as_deref() {
            Some(token) => Some(from_token(token)?),
            None => input.start_after.clone(),
        };
        let books = self.books();
        let keys = books.buckets.get(&input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let page = Page::of(keys, &input, after.as_deref(), most);
        let encode = input.encoding_type.as_ref().is_some_and(|kind| kind.as_str() == EncodingType::URL);
        Ok(S3Response::new(page.answer(input, most, encode)))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.fault()?;
        if self.etag(&req.input.bucket, &req.input.key).is_none() {
            return Err(s3_error!(NoSuchKey));
        }
        self.files.head_object(req).await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.fault()?;
        let GetObjectInput { bucket, key, range, if_match, .. } = req.input;
        let entry = self.entry(&bucket, &key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let (tag_count, etag) = (tag_count(&entry), entry.etag);
        if !matches(if_match.as_ref(), Some(&etag)) {
            return Err(s3_error!(PreconditionFailed));
        }
        let path = self.root.join(&bucket).join(&key);
        let head = HeadObjectInput { bucket, key, ..Default::default() };
        let head = self.files.head_object(request(head)).await?.output;
        let mut file = tokio::fs::File::open(&path).await.map_err(|error| s3_error!(error, NoSuchKey))?;
        let size = file.metadata().await.map_err(s3s::S3Error::internal_error)?.len();
        let asked = range.map(|range| range.check(size)).transpose()?.unwrap_or(0..size);
        file.seek(SeekFrom::Start(asked.start)).await.map_err(s3s::S3Error::internal_error)?;
        let length = asked.end - asked.start;
        let body = ReaderStream::with_capacity(file.take(length), READ_BYTES.min(length.max(1) as usize));
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            content_length: i64::try_from(length).ok(),
            content_range: range.map(|_| format!("bytes {}-{}/{size}", asked.start, asked.end.saturating_sub(1))),
            content_type: head.content_type,
            content_encoding: head.content_encoding,
            content_disposition: head.content_disposition,
            content_language: head.content_language,
            cache_control: head.cache_control,
            expires: head.expires,
            website_redirect_location: head.website_redirect_location,
            tag_count,
            metadata: head.metadata,
            last_modified: head.last_modified,
            e_tag: Some(ETag::Strong(etag)),
            ..Default::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.fault()?;
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        if !self.books().buckets.contains_key(&bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        self.writable(&key)?;
        let tags = req.input.tagging.clone();
        let answer = self.files.put_object(req).await?;
        self.note_written(&bucket, &key, tags).await?;
        self.count_stored(&bucket, &key, |writes| writes.puts += 1);
        Ok(answer)
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        self.fault()?;
        self.writable(&req.input.key)?;
        self.copy_whole(req).await
    }

    async fn get_object_tagging(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        self.fault()?;
        let entry = self.entry(&req.input.bucket, &req.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let tags = entry.tags.unwrap_or_default();
        let tag = |(key, value): (Cow<'_, str>, Cow<'_, str>)| Tag {
            key: Some(key.into_owned()),
            value: Some(value.into_owned()),
        };
        let tag_set = url::form_urlencoded::parse(tags.as_bytes()).map(tag).collect();
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set, ..Default::default() }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.fault()?;
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let answer = self.files.delete_object(req).await?;
        self.forget(&bucket, &key);
        Ok(answer)
    }

    async fn delete_objects(
        &self,
        mut req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.fault()?;
        let bucket = req.input.bucket.clone();
        let (wanted, refused): (Vec<_>, Vec<_>) = req.input.delete.objects.drain(..).partition(|object| {
            match (&object.e_tag, self.etag(&bucket, &object.key)) {
                (Some(wanted), Some(etag)) => wanted.value() == etag,
                _ => true,
            }
        });
        let keys: Vec<String> = wanted.iter().map(|object| object.key.clone()).collect();
        req.input.delete.objects = wanted;
        let mut answer = self.files.delete_objects(req).await?;
        keys.iter().for_each(|key| self.forget(&bucket, key));
        let errors = refused.into_iter().map(|object| Error {
            code: Some("PreconditionFailed".to_owned()),
            key: Some(object.key),
            message: Some("At least one of the pre-conditions you specified did not hold".to_owned()),
            version_id: None,
        });
        answer.output.errors = Some(errors.collect::<Vec<_>>()).filter(|errors| !errors.is_empty());
        Ok(answer)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.fault()?;
        self.writable(&req.input.key)?;
        self.begin_upload(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.fault()?;
        self.store_part(req).await
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.fault()?;
        self.copy_part(req).await
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.fault()?;
        let input = req.input;
        let most = self.page(input.max_parts);
        let books = self.books();
        if !books.uploads.contains_key(&input.upload_id) {
            return Err(s3_error!(NoSuchUpload));
        }
        let after = input.part_number_marker.unwrap_or(0);
        let left = books.parts.get(&input.upload_id).into_iter().flat_map(|parts| parts.range(after + 1..));
        let mut parts: Vec<Part> = left
            .take(most + 1)
            .map(|(number, StoredPart { entry, .. })| Part {
                part_number: Some(*number),
                size: i64::try_from(entry.size).ok(),
                e_tag: Some(ETag::Strong(entry.etag.clone())),
                last_modified: Some(entry.modified.clone()),
                ..Default::default()
            })
            .collect();
        let more = parts.len() > most;
        parts.truncate(most);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(more),
            next_part_number_marker: if more { parts.last().and_then(|part| part.part_number) } else { None },
            parts: Some(parts),
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.fault()?;
        parts::complete(self.clone(), req).await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.fault()?;
        let id = req.input.upload_id.clone();
        if self.books().uploads.remove(&id).is_none() {
            return Err(s3_error!(NoSuchUpload));
        }
        self.books().parts.remove(&id);
        let answer = self.files.abort_multipart_upload(req).await;
        self.forget_upload(&id).map_err(s3s::S3Error::internal_error)?;
        answer
    }
}

/// Told with an object's content only: not every server tells it to `HEAD`.
fn tag_count(entry: &Entry) -> Option<i32> {
    let count = entry.tags.as_deref().map_or(0, |tags| url::form_urlencoded::parse(tags.as_bytes()).count());
    i32::try_from(count).ok().filter(|count| *count > 0)
}

/// One page of a listing.
struct Page {
    objects: Vec<(String, Entry)>,
    prefixes: Vec<String>,
    next: Option<String>,
}

impl Page {
    fn of(keys: &BTreeMap<String, Entry>, input: &ListObjectsV2Input, after: Option<&str>, most: usize) -> Self {
        let prefix = input.prefix.as_deref().unwrap_or("");
        let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let mut page = Self { objects: Vec::new(), prefixes: Vec::new(), next: None };
        let mut last: Option<String> = None;
        for (key, entry) in keys.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
            let common = delimiter.and_then(|delimiter| {
                let end = key[prefix.len()..].find(delimiter)?;
                Some(key[..prefix.len() + end + delimiter.len()].to_owned())
            });
            let name = common.clone().unwrap_or_else(|| key.clone());
            // A common prefix was already given when the marker is it or lies behind it.
            if after.is_some_and(|after| name.as_str() <= after) || page.prefixes.last() == Some(&name) {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == most {
                page.next = last;
                return page;
            }
            match common {
                Some(common) => page.prefixes.push(common),
                None => page.objects.push((key.clone(), entry.clone())),
            }
            last = Some(name);
        }
        page
    }

    fn answer(self, input: ListObjectsV2Input, most: usize, encode: bool) -> ListObjectsV2Output {
        let written = |text: String| match encode {
            true => utf8_percent_encode(&text, LISTED_KEY).to_string(),
            false => text,
        };
        let count = self.objects.len() + self.prefixes.len();
        let contents = self.objects.into_iter().map(|(key, entry)| Object {
            key: Some(written(key)),
            size: i64::try_from(entry.size).ok(),
            e_tag: Some(ETag::Strong(entry.etag)),
            last_modified: Some(entry.modified),
            ..Default::default()
        });
        let contents: Vec<Object> = contents.collect();
        let prefixes = self.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(written(prefix)) });
        ListObjectsV2Output {
            contents: Some(contents),
            common_prefixes: Some(prefixes.collect()),
            is_truncated: Some(self.next.is_some()),
            next_continuation_token: self.next.map(hex::encode),
            key_count: i32::try_from(count).ok(),
            max_keys: i32::try_from(most).ok(),
            name: Some(input.bucket),
            prefix: input.prefix.map(written),
            delimiter: input.delimiter,
            start_after: input.start_after.map(written),
            continuation_token: input.continuation_token,
            encoding_type: input.encoding_type,
            ..Default::default()
        }
    }
}

/// Continuation tokens are opaque to clients; here they are the last key in hexadecimal.
fn from_token(token: &str) -> S3Result<String> {
    let bytes = hex::decode(token).map_err(|_| s3_error!(InvalidArgument, "The continuation token is not ours"))?;
    String::from_utf8(bytes).map_err(|_| s3_error!(InvalidArgument, "The continuation token is not ours"))
}
