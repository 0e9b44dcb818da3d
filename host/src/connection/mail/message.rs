//! A letter as bytes. Nothing of a guest reaches a header line unchecked: control characters are refused, names are of a
//! short list, and everything else is encoded.

use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MessageBuilder, MultiPart, SinglePart};
use ring::digest;

use super::{Letter, MailError};
use crate::clock::{Clock as _, SystemClock};

/// A body's bytes, at most (WIT `orchestrator:mail`).
const BODY_BYTES_MAX: usize = 1 << 20;

/// A subject's characters, at most: what a line of a message may have (RFC 5322).
const SUBJECT_CHARACTERS_MAX: usize = 998;

/// Fields of a guest's own, at most.
const FIELDS_MAX: usize = 20;

/// A field's characters, at most.
const FIELD_CHARACTERS_MAX: usize = 998;

/// Who a letter comes from and goes to.
pub(super) struct Addressed {
    pub(super) from: Mailbox,
    pub(super) reply_to: Option<Mailbox>,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    pub(super) bcc: Vec<Mailbox>,
}

/// A message that can be handed over.
pub(super) struct Written {
    pub(super) id: String,
    pub(super) envelope: Envelope,
    pub(super) bytes: Vec<u8>,
}

impl Written {
    pub(super) fn addresses(&self) -> usize {
        self.envelope.to().len()
    }
}

/// Writes a letter.
///
/// # Errors
/// [`MailError::Invalid`]: a part breaks its rule; the text says which.
pub(super) fn write(letter: &Letter, addressed: &Addressed, key: &str) -> Result<Written, MailError> {
    check(letter)?;
    let id = message_id(key, &letter.part, addressed.from.email.domain());
    let recipients = addressed.to.iter().chain(&addressed.cc).chain(&addressed.bcc);
    let recipients = recipients.map(|mailbox| mailbox.email.clone()).collect();
    let envelope = Envelope::new(Some(addressed.from.email.clone()), recipients).map_err(wrong)?;
    let mut builder = Message::builder()
        .from(addressed.from.clone())
        .envelope(envelope.clone())
        .message_id(Some(id.clone()))
        .date(SystemClock.now().into())
        .subject(letter.subject.clone());
    builder = addressed.reply_to.iter().cloned().fold(builder, MessageBuilder::reply_to);
    builder = addressed.to.iter().cloned().fold(builder, MessageBuilder::to);
    builder = addressed.cc.iter().cloned().fold(builder, MessageBuilder::cc);
    if addressed.to.is_empty() && addressed.cc.is_empty() {
        let nobody = HeaderName::new_from_ascii_str("To");
        builder = builder.raw_header(HeaderValue::new(nobody, "undisclosed-recipients:;".to_owned()));
    }
    let message = body(fields(builder, letter)?, letter)?;
    Ok(Written { id, envelope, bytes: message.formatted() })
}

/// The same for every repeat of the attempt, and of no use to guess the key from.
fn message_id(key: &str, part: &str, domain: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for text in ["orchestrator mail 1", key, part] {
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    format!("<{}@{domain}>", hex::encode(&hash.finish().as_ref()[..16]))
}

fn check(letter: &Letter) -> Result<(), MailError> {
    let subject = &letter.subject;
    if subject.chars().any(char::is_control) || !(1..=SUBJECT_CHARACTERS_MAX).contains(&subject.chars().count()) {
        let text = format!("write the subject as one line of 1 to {SUBJECT_CHARACTERS_MAX} characters");
        return Err(MailError::Invalid(text));
    }
    if letter.text.is_none() && letter.html.is_none() {
        return Err(MailError::Invalid("give the message a `text`, an `html`, or both".to_owned()));
    }
    let too_long = [&letter.text, &letter.html].into_iter().flatten().any(|body| body.len() > BODY_BYTES_MAX);
    match too_long {
        true => Err(MailError::Invalid(format!("a body has at most {BODY_BYTES_MAX} bytes; link to what is longer"))),
        false => Ok(()),
    }
}

fn fields(builder: MessageBuilder, letter: &Letter) -> Result<MessageBuilder, MailError> {
    if letter.headers.len() > FIELDS_MAX {
        return Err(MailError::Invalid(format!("set at most {FIELDS_MAX} header fields")));
    }
    let mut builder = builder;
    let automatic = ("Auto-Submitted".to_owned(), "auto-generated".to_owned());
    let own = letter.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(&automatic.0));
    for (name, value) in letter.headers.iter().chain((!own).then_some(&automatic)) {
        builder = builder.raw_header(field(name, value)?);
    }
    Ok(builder)
}

fn field(name: &str, value: &str) -> Result<HeaderValue, MailError> {
    const ALLOWED: [&str; 3] = ["auto-submitted", "in-reply-to", "references"];
    let lower = name.to_ascii_lowercase();
    let plain = !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let known = lower.starts_with("x-") || lower.starts_with("list-") || ALLOWED.contains(&lower.as_str());
    let fits = value.chars().count() <= FIELD_CHARACTERS_MAX && !value.chars().any(char::is_control);
    match HeaderName::new_from_ascii(name.to_owned()) {
        Ok(name) if plain && known && fits => Ok(HeaderValue::new(name, value.to_owned())),
        _ => {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
            Err(MailError::Invalid(format!(
                "the header field `{shown}` cannot be set: use `X-…`, `List-…`, `References`, `In-Reply-To` or \
                 `Auto-Submitted`, each on one line"
            )))
        }
    }
}

fn body(builder: MessageBuilder, letter: &Letter) -> Result<Message, MailError> {
    let message = match (letter.text.clone(), letter.html.clone()) {
        (Some(text), Some(html)) => builder.multipart(MultiPart::alternative_plain_html(text, html)),
        (None, Some(html)) => builder.singlepart(SinglePart::html(html)),
        (text, None) => builder.singlepart(SinglePart::plain(text.unwrap_or_default())),
    };
    message.map_err(wrong)
}

fn wrong(error: impl std::fmt::Display) -> MailError {
    MailError::Invalid(format!("the message cannot be written: {error}"))
}
