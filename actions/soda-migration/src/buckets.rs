//! Buckets of a multi-cloud service, over its S3 API: whether they are there and on which backend, and what is in them
//! after a job that says it succeeded.

use std::collections::VecDeque;

use orchestrator_sdk::http::{self, Response};
use orchestrator_sdk::progress::{self, Measure};
use orchestrator_sdk::{Context, Error, log, standard};
use serde::{Deserialize, Serialize};

use crate::api;

/// The S3 API's connection in `pack.yaml`.
const S3: &str = "multicloud-s3";

/// Missing objects that are named; more are counted.
const NAMED_MAX: usize = 20;

/// Which bucket.
#[derive(Debug, Clone, Deserialize)]
pub struct Ensure {
    /// Its name.
    pub bucket: String,
    /// The backend it has to lie on; any when absent.
    pub backend: Option<String>,
}

/// A bucket that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ensured {
    /// Its name.
    pub bucket: String,
    /// The backend it lies on, as far as the service tells.
    pub backend: Option<String>,
    /// Whether this call made it.
    pub created: bool,
}

/// Which bucket.
#[derive(Debug, Clone, Deserialize)]
pub struct BucketName {
    /// Its name.
    pub bucket: String,
}

/// Whether a bucket is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub bucket: String,
    /// Whether it is there.
    pub exists: bool,
    /// The backend it lies on, as far as the service tells.
    pub backend: Option<String>,
}

/// What became of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// Its name.
    pub bucket: String,
    /// Whether it is gone now.
    pub gone: bool,
    /// Why it was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// What to count.
#[derive(Debug, Clone, Deserialize)]
pub struct Count {
    /// The bucket.
    pub bucket: String,
    /// Only keys that start with this.
    pub prefix: Option<String>,
}

/// What there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What to compare.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// The bucket that objects were migrated from.
    pub source_bucket: String,
    /// The bucket they were migrated to.
    pub destination_bucket: String,
    /// Only keys that start with this.
    pub prefix: Option<String>,
    /// Objects that the source had before.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Objects at the destination.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that the source still has.
    pub left: u64,
    /// Objects of the source that the destination does not have in the same length.
    pub missing: u64,
    /// The first 20 of them.
    pub missing_keys: Vec<String>,
    /// Whether everything that the source had is at the destination, as far as counts and lengths tell.
    pub complete: bool,
}

/// Makes sure that a bucket is there, on the backend that was asked for.
///
/// # Errors
/// Permanent 404 when it is not there and no backend is given, 409 when it lies on another backend; those of the API.
pub fn ensure(ctx: &Context, input: Ensure) -> Result<Ensured, Error> {
    let Ensure { bucket, backend } = input;
    if let Some(found) = find(&bucket)? {
        return match (&backend, &found.location) {
            (Some(wanted), Some(location)) if wanted != location => {
                let detail = format!("the bucket `{bucket}` lies on the backend `{location}` and not on `{wanted}`");
                Err(Error::permanent(detail)
                    .with_type(standard::VALIDATION, 409, "Bucket on another backend")
                    .cure("name another destination bucket, or this backend"))
            }
            _ => Ok(Ensured { bucket, backend: found.location, created: false }),
        };
    }
    let Some(location) = &backend else {
        return Err(Error::permanent(format!("the multi-cloud service has no bucket `{bucket}`"))
            .with_type(standard::VALIDATION, 404, "No such bucket")
            .cure("create it, or name the backend that it is to be created on"));
    };
    let body = format!(
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
        quick_xml::escape::escape(location.as_str())
    );
    let path = format!("/{}", http::encode_path_segment(&bucket));
    let request = http::put(S3, &path).header("content-type", "application/xml").body(body.into_bytes());
    expect(api::send(request)?, &format!("create the bucket `{bucket}` on the backend `{location}`"))?;
    ctx.created("bucket", &bucket);
    log::info!("created the bucket `{bucket}` on the backend `{location}`");
    Ok(Ensured { bucket, backend, created: true })
}

/// Looks whether a bucket is there.
///
/// # Errors
/// Those of the API.
pub fn look(_: &Context, input: BucketName) -> Result<Found, Error> {
    let BucketName { bucket } = input;
    let found = find(&bucket)?;
    Ok(Found { bucket, exists: found.is_some(), backend: found.and_then(|found| found.location) })
}

/// Removes a bucket that has no objects; one that has some is left, one that is gone is a success.
///
/// # Errors
/// Those of the API.
pub fn remove_empty(ctx: &Context, input: BucketName) -> Result<Removed, Error> {
    let BucketName { bucket } = input;
    if find(&bucket)?.is_none() {
        return Ok(Removed { bucket, gone: true, kept: None });
    }
    // Not every release of the service looks itself before it removes a bucket.
    if let Some(object) = Objects::of(&bucket, None).next().transpose()? {
        let kept = Some(format!("it has objects, the first is `{}`", object.key));
        return Ok(Removed { bucket, gone: false, kept });
    }
    let response = api::send(http::delete(S3, &format!("/{}", http::encode_path_segment(&bucket))))?;
    match response.status() {
        404 => {}
        409 => {
            let kept = Some("it is not empty any more".to_owned());
            return Ok(Removed { bucket, gone: false, kept });
        }
        _ => drop(expect(response, &format!("remove the bucket `{bucket}`"))?),
    }
    ctx.deleted("bucket", &bucket);
    log::info!("removed the empty bucket `{bucket}`");
    Ok(Removed { bucket, gone: true, kept: None })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bucket {
    name: String,
    #[serde(rename = "LocationConstraint")]
    location: Option<String>,
}

fn find(name: &str) -> Result<Option<Bucket>, Error> {
    #[derive(Deserialize, Default)]
    struct Buckets {
        #[serde(rename = "Bucket", default)]
        all: Vec<Bucket>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(default)]
        buckets: Buckets,
    }
    let doing = "list the buckets";
    let response = expect(api::send(http::get(S3, "/"))?, doing)?;
    let answer: Answer = read(&response, doing)?;
    Ok(answer.buckets.all.into_iter().find(|bucket| bucket.name == name))
}

/// Counts a bucket's objects.
///
/// # Errors
/// Those of the API.
pub fn count(_: &Context, input: Count) -> Result<Counted, Error> {
    let mut counted = Counted::default();
    for object in Objects::of(&input.bucket, input.prefix.as_deref()) {
        counted.objects += 1;
        counted.bytes += object?.size;
    }
    Ok(counted)
}

/// Compares what a job left with what there was: a job that says it succeeded may have copied nothing.
///
/// # Errors
/// Those of the API. What is missing is a finding and no error.
pub fn verify(_: &Context, input: Verify) -> Result<Verified, Error> {
    let prefix = input.prefix.as_deref();
    let mut found = Verified::default();
    let mut source = Objects::of(&input.source_bucket, prefix);
    let mut wanted = source.next().transpose()?;
    for object in Objects::of(&input.destination_bucket, prefix) {
        let object = object?;
        while let Some(behind) = wanted.take_if(|wanted| wanted.key < object.key) {
            found.lacks(behind);
            wanted = source.next().transpose()?;
        }
        if let Some(same) = wanted.take_if(|wanted| wanted.key == object.key) {
            match same.size == object.size {
                true => found.left += 1,
                false => found.lacks(same),
            }
            wanted = source.next().transpose()?;
        }
        found.objects += 1;
        found.bytes += object.size;
        progress::report(&[Measure::of("objects", found.objects, input.objects.max(found.objects))], None);
    }
    while let Some(behind) = wanted {
        found.lacks(behind);
        wanted = source.next().transpose()?;
    }
    found.complete = found.missing == 0 && found.objects >= input.objects && found.bytes >= input.bytes;
    Ok(found)
}

impl Verified {
    fn lacks(&mut self, object: Object) {
        self.missing += 1;
        self.left += 1;
        if self.missing_keys.len() < NAMED_MAX {
            self.missing_keys.push(object.key);
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    size: u64,
}

/// A bucket's objects in key order, page by page.
struct Objects {
    bucket: String,
    prefix: String,
    page: VecDeque<Object>,
    next: Option<Option<String>>,
}

impl Objects {
    fn of(bucket: &str, prefix: Option<&str>) -> Self {
        let prefix = prefix.unwrap_or_default().to_owned();
        Self { bucket: bucket.to_owned(), prefix, page: VecDeque::new(), next: Some(None) }
    }

    fn fill(&mut self) -> Result<(), Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            #[serde(default)]
            contents: VecDeque<Object>,
            #[serde(default)]
            is_truncated: bool,
            next_continuation_token: Option<String>,
        }
        let Some(token) = self.next.take() else { return Ok(()) };
        let mut request = http::get(S3, &format!("/{}", http::encode_path_segment(&self.bucket))).query("list-type", 2);
        if !self.prefix.is_empty() {
            request = request.query("prefix", &self.prefix);
        }
        if let Some(token) = token {
            request = request.query("continuation-token", token);
        }
        let doing = format!("list the bucket `{}`", self.bucket);
        let response = expect(api::send(request)?, &doing)?;
        let answer: Answer = read(&response, &doing)?;
        self.page = answer.contents;
        self.next = answer.next_continuation_token.filter(|_| answer.is_truncated).map(Some);
        Ok(())
    }
}

impl Iterator for Objects {
    type Item = Result<Object, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.page.is_empty() && self.next.is_some() {
            if let Err(error) = self.fill() {
                return Some(Err(error));
            }
        }
        self.page.pop_front().map(Ok)
    }
}

fn read<T: serde::de::DeserializeOwned>(response: &Response, doing: &str) -> Result<T, Error> {
    let text = response.text();
    quick_xml::de::from_str(&text)
        .map_err(|error| Error::permanent(format!("{doing}: the answer is not the expected XML: {error}")))
}

/// Sorts an answer of the S3 API.
fn expect(response: Response, doing: &str) -> Result<Response, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Said {
        code: String,
        #[serde(default)]
        message: String,
    }
    if response.is_success() {
        return Ok(response);
    }
    let status = response.status();
    let said = match quick_xml::de::from_str::<Said>(&response.text()) {
        Ok(said) => format!("{} {}", said.code, said.message),
        Err(_) => api::said(&response),
    };
    let detail = format!("{doing}: the multi-cloud service answered {status}: {}", said.trim());
    Err(match status {
        401 | 403 => Error::permanent(detail)
            .with_type(standard::AUTHORIZATION, 403, "Refused by the multi-cloud service")
            .cure("check the keys of the connection granted as `multicloud-s3`"),
        500.. if said.contains("GetBackendFailed") => {
            Error::validation(detail).cure("check the backend's name and its credentials")
        }
        408 | 429 | 500.. => Error::transient(detail).with_status(status),
        _ => Error::permanent(detail).with_type(standard::COMMUNICATION, status, "Refused by the multi-cloud service"),
    })
}
