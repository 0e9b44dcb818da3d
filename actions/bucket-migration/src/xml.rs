//! The few XML documents of the S3 protocol that a migration reads and writes.

use percent_encoding::percent_decode_str;
use quick_xml::escape::escape;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::s3::Object;

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Objects in key order.
    pub objects: Vec<Object>,
    /// What to ask for next; nothing after the last page.
    pub next: Option<String>,
}

/// What a server says about a failure.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Said {
    /// The protocol's code, such as `NoSuchKey`.
    pub code: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
}

/// One stored part of an upload.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct Part {
    /// From 1 on.
    pub part_number: u32,
    /// Length in bytes.
    pub size: u64,
    /// The entity tag, quotes included.
    #[serde(rename = "ETag", default)]
    pub etag: String,
}

/// One page of the parts of an upload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Parts {
    /// The parts in order.
    #[serde(rename = "Part", default)]
    pub parts: Vec<Part>,
    /// Whether there are more.
    #[serde(default)]
    pub is_truncated: bool,
    /// Where to go on.
    pub next_part_number_marker: Option<u32>,
}

/// What a batch deletion did not delete.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NotDeleted {
    /// The key.
    #[serde(default)]
    pub key: String,
    /// Why, as the protocol's code.
    #[serde(default)]
    pub code: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8".to_owned())?;
    quick_xml::de::from_str(text).map_err(|error| format!("the answer is not the expected XML: {error}"))
}

/// Reads a page of `ListObjectsV2` that was asked for with `encoding-type=url`.
pub fn page(body: &[u8]) -> Result<Page, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Contents {
        key: String,
        size: u64,
        #[serde(rename = "ETag", default)]
        etag: String,
        #[serde(default)]
        last_modified: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ListBucketResult {
        #[serde(default)]
        contents: Vec<Contents>,
        #[serde(default)]
        is_truncated: bool,
        next_continuation_token: Option<String>,
        encoding_type: Option<String>,
    }
    let answer: ListBucketResult = read(body)?;
    let encoded = answer.encoding_type.as_deref() == Some("url");
    let object = |listed: Contents| {
        let key = if encoded { decode(&listed.key)? } else { listed.key };
        let etag = listed.etag.trim_matches('"').to_owned();
        Ok(Object { key, size: listed.size, etag, modified: listed.last_modified })
    };
    let objects = answer.contents.into_iter().map(object).collect::<Result<_, String>>()?;
    match (answer.is_truncated, answer.next_continuation_token) {
        (false, _) => Ok(Page { objects, next: None }),
        (true, Some(next)) => Ok(Page { objects, next: Some(next) }),
        (true, None) => Err("the listing is cut off without a continuation token".to_owned()),
    }
}

/// Servers write a space as `+` or as `%20`, and a plus always as `%2B`.
fn decode(key: &str) -> Result<String, String> {
    let key = key.replace('+', " ");
    let key = percent_decode_str(&key).decode_utf8().map_err(|_| format!("the key `{key}` is not UTF-8"))?;
    Ok(key.into_owned())
}

/// Reads an error document, if it is one. A completed upload can carry one under status 200.
pub fn error(body: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(body).ok()?;
    // The root's name is not checked by the reader, and other answers have no `Code`.
    text.contains("<Error").then(|| quick_xml::de::from_str(text).ok()).flatten()
}

/// Reads the identifier of a new upload.
pub fn upload_id(body: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct InitiateMultipartUploadResult {
        upload_id: String,
    }
    read::<InitiateMultipartUploadResult>(body).map(|answer| answer.upload_id)
}

/// Reads the entity tag that a copy by the server got, of a whole object or of a part; nothing when the answer is not
/// that of a copy: a server that does not know the request stores an empty object and says so with an empty answer.
pub fn copied(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct CopyResult {
        #[serde(rename = "ETag")]
        etag: String,
    }
    let text = std::str::from_utf8(body).ok()?;
    let is_copy = text.contains("<CopyObjectResult") || text.contains("<CopyPartResult");
    let answer = is_copy.then(|| quick_xml::de::from_str::<CopyResult>(text).ok()).flatten()?;
    Some(answer.etag.trim_matches('"').to_owned())
}

/// Reads an object's tags.
pub fn tags(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Tag {
        key: String,
        #[serde(default)]
        value: String,
    }
    #[derive(Deserialize, Default)]
    struct TagSet {
        #[serde(rename = "Tag", default)]
        tags: Vec<Tag>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Tagging {
        #[serde(default)]
        tag_set: TagSet,
    }
    let answer: Tagging = read(body)?;
    Ok(answer.tag_set.tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

/// Writes where a new bucket is to lie.
pub fn location(location: &str) -> String {
    let location = escape(location);
    format!(
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <LocationConstraint>{location}</LocationConstraint></CreateBucketConfiguration>"
    )
}

/// Reads a page of `ListParts`.
pub fn parts(body: &[u8]) -> Result<Parts, String> {
    read(body)
}

/// Reads what a batch deletion did not delete.
pub fn not_deleted(body: &[u8]) -> Result<Vec<NotDeleted>, String> {
    #[derive(Deserialize)]
    struct DeleteResult {
        #[serde(rename = "Error", default)]
        errors: Vec<NotDeleted>,
    }
    if body.is_empty() {
        return Ok(Vec::new());
    }
    read::<DeleteResult>(body).map(|answer| answer.errors)
}

/// Writes the list of parts that completes an upload; entity tags without quotes.
pub fn complete<'a>(parts: impl Iterator<Item = (u32, &'a str)>) -> String {
    let mut text = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (number, etag) in parts {
        let etag = escape(etag);
        text += &format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>");
    }
    text + "</CompleteMultipartUpload>"
}

/// Writes a batch deletion.
pub fn delete(objects: &[Object]) -> String {
    let mut text = String::from("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
    for object in objects {
        text += &format!("<Object><Key>{}</Key>", escape(object.key.as_str()));
        if !object.etag.is_empty() {
            text += &format!("<ETag>&quot;{}&quot;</ETag>", escape(object.etag.as_str()));
        }
        text += "</Object>";
    }
    text + "</Delete>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_with_its_names_decoded() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><EncodingType>url</EncodingType>
            <IsTruncated>true</IsTruncated><NextContinuationToken>t/+=</NextContinuationToken>
            <Contents><Key>a+b%2Bc/%C3%BC%25</Key><Size>5</Size><ETag>&quot;e1&quot;</ETag>
            <LastModified>2009-10-12T17:50:30.000Z</LastModified><Owner><ID>x</ID></Owner></Contents>
            <Contents><Key>x%20y</Key><Size>0</Size></Contents></ListBucketResult>"#;
        let page = page(text.as_bytes()).expect("a page");
        assert_eq!(page.next.as_deref(), Some("t/+="));
        let object = |key: &str, size, etag: &str, modified: &str| Object {
            key: key.into(),
            size,
            etag: etag.into(),
            modified: modified.into(),
        };
        assert_eq!(page.objects[0], object("a b+c/ü%", 5, "e1", "2009-10-12T17:50:30.000Z"));
        assert_eq!(page.objects[1], object("x y", 0, "", ""));
    }

    #[test]
    fn an_empty_bucket_is_an_empty_page_and_a_lost_token_is_refused() {
        let empty = page(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>").expect("a page");
        assert_eq!(empty, Page { objects: Vec::new(), next: None });
        assert!(page(b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>").is_err());
        assert!(page(b"<html>").is_err());
    }

    #[test]
    fn the_answer_of_a_copy_and_tags_are_read() {
        let whole = b"<CopyObjectResult><LastModified>x</LastModified><ETag>&quot;e&quot;</ETag></CopyObjectResult>";
        assert_eq!(copied(whole).as_deref(), Some("e"));
        assert_eq!(copied(b"<CopyPartResult><ETag>\"p\"</ETag></CopyPartResult>").as_deref(), Some("p"));
        for other in [&b""[..], b"<PutObjectResult><ETag>e</ETag></PutObjectResult>", b"<CopyObjectResult/>"] {
            assert_eq!(copied(other), None);
        }
        let text = b"<Tagging><TagSet><Tag><Key>a b</Key><Value>&amp;</Value></Tag><Tag><Key>c</Key></Tag></TagSet>\
            </Tagging>";
        let expected = [("a b".to_owned(), "&".to_owned()), ("c".to_owned(), String::new())];
        assert_eq!(tags(text).expect("tags"), expected);
        assert!(tags(b"<Tagging><TagSet/></Tagging>").expect("no tags").is_empty());
    }

    #[test]
    fn parts_and_failures_are_read() {
        let text = b"<ListPartsResult><UploadId>u</UploadId><IsTruncated>true</IsTruncated>\
            <NextPartNumberMarker>2</NextPartNumberMarker><Part><PartNumber>1</PartNumber><Size>9</Size>\
            <ETag>\"e\"</ETag></Part><Part><PartNumber>2</PartNumber><Size>9</Size></Part></ListPartsResult>";
        let read = parts(text).expect("parts");
        assert_eq!((read.parts.len(), read.is_truncated, read.next_part_number_marker), (2, true, Some(2)));
        assert_eq!(
            error(b"<Error><Code>InternalError</Code><Message>m</Message></Error>").expect("an error").code,
            "InternalError"
        );
        assert!(error(b"<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>").is_none());
        let refused =
            b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code><Message>m</Message></Error></DeleteResult>";
        assert_eq!(not_deleted(refused).expect("read")[0].key, "k");
        assert!(not_deleted(b"<DeleteResult/>").expect("read").is_empty());
    }
}
