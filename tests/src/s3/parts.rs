//! Uploads in parts as a real server does them: each byte is written once and digested once. Parts are written where they
//! will lie in the whole, as long as they are of one length; completing then only gives the file its name, and the
//! entity tag is made of the parts' recorded digests. Parts of other lengths are put together by the kernel.
//!
//! A piece of zeros is not written but left as a hole, so that very large objects cost no disk.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use s3s::crypto::{Checksum, Md5};
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use super::store::{Entry, GONE_BEFORE, Store, now, request};

/// The piece in which parts are written; each costs one hop to a blocking thread.
const WRITE_BYTES: usize = 1 << 20;

/// The protocol's smallest part, but for the last.
const PART_MIN: u64 = 5 << 20;

/// The protocol's highest number of a part.
const NUMBER_MAX: i32 = 10_000;

/// An upload under way.
#[derive(Clone)]
pub(super) struct Upload {
    pub(super) at: (String, String),
    pub(super) tags: Option<String>,
    /// Held while it is completed: a second request to complete it waits, and then finds it gone.
    completing: Arc<tokio::sync::Mutex<()>>,
    /// The length that parts have; the first part that comes decides.
    unit: Option<u64>,
}

/// A stored part.
#[derive(Clone)]
pub(super) struct StoredPart {
    pub(super) entry: Entry,
    digest: [u8; 16],
    /// Whether it lies in the file of the whole.
    in_place: bool,
}

impl Upload {
    pub(super) fn new(at: (String, String), tags: Option<String>) -> Self {
        Self { at, tags, completing: Arc::default(), unit: None }
    }
}

/// Where a part's bytes go.
struct Place {
    file: Arc<File>,
    offset: u64,
    in_place: bool,
    /// Whether there may be other bytes already: then zeros are written too.
    used: bool,
}

impl Store {
    fn whole(&self, id: &str) -> PathBuf {
        self.root.join(format!(".upload_id-{id}.whole"))
    }

    fn apart(&self, id: &str, number: i32) -> PathBuf {
        self.root.join(format!(".upload_id-{id}.part-{number}"))
    }

    fn place(&self, id: &str, number: i32, length: u64) -> S3Result<Place> {
        if !(1..=NUMBER_MAX).contains(&number) {
            return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"));
        }
        let mut books = self.books();
        let used = books.parts.get(id).is_some_and(|parts| parts.contains_key(&number));
        let upload = books.uploads.get_mut(id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let unit = *upload.unit.get_or_insert(length);
        let in_place = length <= unit;
        let (path, offset) = match in_place {
            true => (self.whole(id), u64::try_from(number - 1).unwrap_or(0) * unit),
            false => (self.apart(id, number), 0),
        };
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
        Ok(Place { file: Arc::new(file.map_err(S3Error::internal_error)?), offset, in_place, used })
    }

    pub(super) async fn store_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let length = input.content_length.and_then(|length| u64::try_from(length).ok());
        let length = length.ok_or_else(|| s3_error!(MissingContentLength))?;
        let body = input.body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let body = body.map(|piece| piece.map_err(|error| s3_error!(IncompleteBody, "{error}")));
        let etag = self.write_part(&input.upload_id, input.part_number, length, body).await?;
        self.count(&input.bucket, &input.key, |writes| writes.parts += 1);
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..Default::default() }))
    }

    pub(super) async fn copy_part(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else { return Err(s3_error!(NotImplemented)) };
        let size = self.check_source(bucket, key, input.copy_source_if_match.as_ref())?;
        let range = match input.copy_source_range.as_deref() {
            Some(range) => span(range).filter(|(_, end)| *end < size).ok_or_else(|| s3_error!(InvalidRange))?,
            None => (0, size.saturating_sub(1)),
        };
        let path = self.path(bucket, key);
        let mut file = File::open(path).map_err(|error| s3_error!(error, NoSuchKey))?;
        file.seek(SeekFrom::Start(range.0)).map_err(S3Error::internal_error)?;
        let length = range.1 + 1 - range.0;
        let file = tokio::io::AsyncReadExt::take(tokio::fs::File::from_std(file), length);
        let body = tokio_util::io::ReaderStream::with_capacity(file, WRITE_BYTES);
        let body = body.map(|piece| piece.map_err(S3Error::internal_error));
        let etag = self.write_part(&input.upload_id, input.part_number, length, body).await?;
        self.count(&input.bucket, &input.key, |writes| writes.copied_parts += 1);
        let result =
            CopyPartResult { e_tag: Some(ETag::Strong(etag)), last_modified: Some(now()), ..Default::default() };
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() }))
    }

    async fn write_part(
        &self,
        id: &str,
        number: i32,
        length: u64,
        mut body: impl Stream<Item = S3Result<Bytes>> + Unpin,
    ) -> S3Result<String> {
        let place = self.place(id, number, length)?;
        let (mut hash, mut at) = (Md5::new(), 0);
        while let Some(piece) = gather(&mut body).await? {
            let (file, offset, hole) = (Arc::clone(&place.file), place.offset + at, !place.used);
            at += piece.len() as u64;
            if at > length {
                return Err(s3_error!(InvalidRequest, "the body is longer than its announced length"));
            }
            let write = move || {
                let mut hash = hash;
                hash.update(&piece);
                if !(hole && piece.iter().all(|byte| *byte == 0)) {
                    file.write_all_at(&piece, offset)?;
                }
                std::io::Result::Ok(hash)
            };
            let written = tokio::task::spawn_blocking(write).await.map_err(S3Error::internal_error)?;
            hash = written.map_err(S3Error::internal_error)?;
        }
        let digest = hash.finalize();
        let etag = hex::encode(digest);
        let entry = Entry { size: at, etag: etag.clone(), modified: now(), tags: None };
        let part = StoredPart { entry, digest, in_place: place.in_place };
        let mut books = self.books();
        if !books.uploads.contains_key(id) {
            return Err(s3_error!(NoSuchUpload));
        }
        books.parts.entry(id.to_owned()).or_default().insert(number, part);
        Ok(etag)
    }

    pub(super) async fn complete_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let gone = || s3_error!(NoSuchUpload);
        let upload = self.books().uploads.get(&input.upload_id).cloned().ok_or_else(gone)?;
        let _turn = upload.completing.lock().await;
        if !self.books().uploads.contains_key(&input.upload_id) {
            return Err(gone());
        }
        let parts = self.listed(&input)?;
        let etag = etag_of(&parts);
        let (store, id, at, named) = (self.clone(), input.upload_id.clone(), upload.at.clone(), etag.clone());
        let unit = self.books().uploads.get(&id).and_then(|upload| upload.unit).unwrap_or(0);
        let work = move || store.put_together(&id, &at, &parts, unit, &named);
        let put = tokio::task::spawn_blocking(work).await.map_err(S3Error::internal_error)?;
        put.map_err(S3Error::internal_error)?;
        let (bucket, key) = upload.at;
        self.note_written(&bucket, &key, upload.tags).await?;
        self.count_stored(&bucket, &key, |writes| writes.completes += 1);
        let mut books = self.books();
        books.uploads.remove(&input.upload_id);
        books.parts.remove(&input.upload_id);
        let (bucket, key) = (Some(bucket), Some(key));
        let output =
            CompleteMultipartUploadOutput { bucket, key, e_tag: Some(ETag::Strong(etag)), ..Default::default() };
        Ok(S3Response::new(output))
    }

    /// The parts that a completion lists, checked.
    fn listed(&self, input: &CompleteMultipartUploadInput) -> S3Result<Vec<(i32, StoredPart)>> {
        let listed = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_ref());
        let listed = listed.filter(|parts| !parts.is_empty());
        let listed = listed.ok_or_else(|| s3_error!(InvalidRequest, "You must specify at least one part"))?;
        let books = self.books();
        let stored = books.parts.get(&input.upload_id);
        let mut parts: Vec<(i32, StoredPart)> = Vec::new();
        for part in listed {
            let number = part.part_number.ok_or_else(|| s3_error!(InvalidPart))?;
            let known = stored.and_then(|parts| parts.get(&number)).ok_or_else(|| s3_error!(InvalidPart))?;
            if part.e_tag.as_ref().is_some_and(|etag| etag.value() != known.entry.etag) {
                return Err(s3_error!(InvalidPart));
            }
            if parts.last().is_some_and(|(last, _)| *last >= number) {
                return Err(s3_error!(InvalidPartOrder));
            }
            if parts.last().is_some_and(|(_, last)| last.entry.size < PART_MIN) {
                return Err(s3_error!(EntityTooSmall));
            }
            parts.push((number, known.clone()));
        }
        Ok(parts)
    }

    fn put_together(
        &self,
        id: &str,
        (bucket, key): &(String, String),
        parts: &[(i32, StoredPart)],
        unit: u64,
        etag: &str,
    ) -> std::io::Result<()> {
        let whole = self.whole(id);
        let lies = |index: usize, number: i32, part: &StoredPart| {
            let full = part.entry.size == unit || index + 1 == parts.len();
            part.in_place && full && usize::try_from(number) == Ok(index + 1)
        };
        let size: u64 = parts.iter().map(|(_, part)| part.entry.size).sum();
        if parts.iter().enumerate().all(|(index, (number, part))| lies(index, *number, part)) {
            File::options().create(true).truncate(false).write(true).open(&whole)?.set_len(size)?;
        } else {
            let gathered = self.root.join(format!(".upload_id-{id}.gathered"));
            let mut to = File::create(&gathered)?;
            for (number, part) in parts {
                let (path, offset) = match part.in_place {
                    true => (whole.clone(), u64::try_from(number - 1).unwrap_or(0) * unit),
                    false => (self.apart(id, *number), 0),
                };
                let mut from = File::open(path)?;
                from.seek(SeekFrom::Start(offset))?;
                std::io::copy(&mut std::io::Read::take(from, part.entry.size), &mut to)?;
            }
            to.set_len(size)?;
            std::fs::rename(&gathered, &whole)?;
        }
        let named = |suffix: &str| {
            let (bucket, key) = (URL_SAFE_NO_PAD.encode(bucket), URL_SAFE_NO_PAD.encode(key));
            self.root.join(format!(".bucket-{bucket}.object-{key}{suffix}"))
        };
        let _ = std::fs::rename(named(&format!(".upload-{id}.metadata.json")), named(".metadata.json"));
        std::fs::write(named(".internal.json"), serde_json::json!({ "e_tag": etag }).to_string())?;
        let object = self.path(bucket, key);
        object.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::rename(&whole, object)?;
        self.forget_upload(id)
    }

    /// Removes the files of an upload.
    pub(super) fn forget_upload(&self, id: &str) -> std::io::Result<()> {
        let _ = std::fs::remove_file(self.root.join(format!(".upload-{id}.json")));
        let of_upload = format!(".upload_id-{id}.");
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&of_upload) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Stores an object of zeros of this length, as if it had been uploaded in parts. It costs neither time nor disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn plant_zeros(&self, bucket: &str, key: &str, size: u64, part_bytes: u64) -> anyhow::Result<()> {
        let digest = |length: u64| {
            let mut hash = Md5::new();
            hash.update(&vec![0; usize::try_from(length).unwrap_or(0)]);
            hash.finalize()
        };
        let (full, rest) = (size / part_bytes, size % part_bytes);
        let mut digests = vec![digest(part_bytes); usize::try_from(full)?];
        digests.extend((rest > 0).then(|| digest(rest)));
        let mut hash = Md5::new();
        digests.iter().for_each(|digest| hash.update(digest));
        let etag = format!("{}-{}", hex::encode(hash.finalize()), digests.len());
        let object = self.path(bucket, key);
        object.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        File::create(&object)?.set_len(size)?;
        let (b, k) = (URL_SAFE_NO_PAD.encode(bucket), URL_SAFE_NO_PAD.encode(key));
        let info = self.root.join(format!(".bucket-{b}.object-{k}.internal.json"));
        std::fs::write(info, serde_json::json!({ "e_tag": etag }).to_string())?;
        self.note_written(bucket, key, None).await.map_err(|error| anyhow::anyhow!("note the object: {error:?}"))
    }
}

impl Store {
    /// Stores this many objects of this length, each with other bytes, without any request.
    ///
    /// # Errors
    /// When one cannot be written.
    pub async fn plant_many(&self, bucket: &str, prefix: &str, objects: usize, bytes: usize) -> anyhow::Result<()> {
        for number in 0..objects {
            let key = format!("{prefix}{number:06}");
            let path = self.path(bucket, &key);
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            let text = format!("{number:08}").repeat(bytes / 8 + 1);
            std::fs::write(path, &text.as_bytes()[..bytes])?;
            let noted = self.note_written(bucket, &key, None).await;
            noted.map_err(|error| anyhow::anyhow!("note the object: {error:?}"))?;
        }
        Ok(())
    }
}

/// A piece large enough for one hop to a blocking thread; nothing at the end.
async fn gather(body: &mut (impl Stream<Item = S3Result<Bytes>> + Unpin)) -> S3Result<Option<Bytes>> {
    let Some(first) = body.next().await.transpose()? else { return Ok(None) };
    if first.len() >= WRITE_BYTES {
        return Ok(Some(first));
    }
    let mut piece = BytesMut::with_capacity(WRITE_BYTES);
    piece.extend_from_slice(&first);
    while piece.len() < WRITE_BYTES {
        match body.next().await.transpose()? {
            Some(more) => piece.extend_from_slice(&more),
            None => break,
        }
    }
    Ok(Some(piece.freeze()))
}

fn span(range: &str) -> Option<(u64, u64)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = (start.parse().ok()?, end.parse().ok()?);
    (start <= end).then_some((start, end))
}

/// The digest of the parts' digests and their number.
fn etag_of(parts: &[(i32, StoredPart)]) -> String {
    let mut hash = Md5::new();
    parts.iter().for_each(|(_, part)| hash.update(&part.digest));
    format!("{}-{}", hex::encode(hash.finalize()), parts.len())
}

/// Completes an upload in a task of its own: a client that goes away must not stop the work half-way, as dropping the
/// future would. A real server either completes an upload or leaves it as it is.
pub(super) async fn complete(
    store: Store,
    req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let gone = GONE_BEFORE.try_with(|gone| *gone).unwrap_or(u64::MAX);
    let work = tokio::spawn(GONE_BEFORE.scope(gone, async move { store.complete_upload(req).await }));
    work.await.map_err(S3Error::internal_error)?
}

impl Store {
    /// Begins an upload; its attributes are kept by the layer below.
    pub(super) async fn begin_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let at = (req.input.bucket.clone(), req.input.key.clone());
        let tags = req.input.tagging.clone();
        let answer = self.files.create_multipart_upload(req).await?;
        if let Some(id) = &answer.output.upload_id {
            self.books().uploads.insert(id.clone(), Upload::new(at, tags));
        }
        Ok(answer)
    }

    /// Copies an object within this server.
    pub(super) async fn copy_whole(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let CopySource::Bucket { bucket: from, key: named, .. } = &req.input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        self.check_source(from, named, req.input.copy_source_if_match.as_ref())?;
        let original = self.entry(from, named);
        let tags = req.input.tagging.clone().or_else(|| original.and_then(|entry| entry.tags));
        let answer = self.files.copy_object(request(req.input)).await?;
        self.note_written(&bucket, &key, tags).await?;
        self.count(&bucket, &key, |writes| writes.copies += 1);
        Ok(answer)
    }
}
