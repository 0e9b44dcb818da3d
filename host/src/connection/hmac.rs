//! The signature of a webhook: HMAC-SHA256 over `SECONDS.BODY`, told with the time as `t=SECONDS,v1=HEX`, so that whoever
//! takes it can refuse what was changed and what is old.

use std::time::SystemTime;

use ring::hmac;

use super::signature::SignedBody;

/// The header's value.
///
/// # Errors
/// The body is a stream, whose bytes are not known before they are sent.
pub(super) fn sign(key: &[u8], body: &SignedBody<'_>, now: SystemTime) -> Result<String, String> {
    let SignedBody::Bytes(body) = body else {
        return Err("send the body from memory: a transfer cannot be signed beforehand".to_owned());
    };
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    signing.update(format!("{seconds}.").as_bytes());
    signing.update(body);
    Ok(format!("t={seconds},v1={}", hex::encode(signing.sign())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_and_the_body_are_signed() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let signed = sign(b"key", &SignedBody::Bytes(b"{\"a\":1}"), at).unwrap();
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
        assert_eq!(signed, "t=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03");
        assert_ne!(signed, sign(b"key", &SignedBody::Bytes(b"{\"a\":2}"), at).unwrap());
        assert!(sign(b"key", &SignedBody::Unsigned, at).unwrap_err().contains("from memory"));
    }
}
