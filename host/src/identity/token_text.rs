//! The text of an API token: `orc_`, 43 random letters and digits (256 bits), and 6 that check them, so that a token that
//! was cut or mistyped is known without a look at the store, and scanners for leaked secrets can tell one for sure.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every token begins with.
pub const PREFIX: &str = "orc_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random characters: 43 of 62 are 256 bits.
const RANDOM_CHARACTERS: usize = 43;

/// Characters that check the others.
const CHECK_CHARACTERS: usize = 6;

/// Draws a new token.
pub fn draw() -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    text.push_str(PREFIX);
    let random = SystemRandom::new();
    let mut bytes = Zeroizing::new([0; 64]);
    while text.len() < PREFIX.len() + RANDOM_CHARACTERS {
        random.fill(bytes.as_mut()).expect("the kernel's generator does not fail after start-up");
        let left = PREFIX.len() + RANDOM_CHARACTERS - text.len();
        // 248 is the largest multiple of 62 in a byte: no character is more likely than another.
        let letters = bytes.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[usize::from(byte % 62)] as char);
        letters.take(left).for_each(|letter| text.push(letter));
    }
    let check = check(&text);
    text.push_str(&check);
    text
}

/// Whether a text has the form of a token and its check fits.
pub fn is_whole(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    if rest.len() != RANDOM_CHARACTERS + CHECK_CHARACTERS || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let (random, checked) = text.split_at(PREFIX.len() + RANDOM_CHARACTERS);
    check(random) == checked
}

fn check(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let digit = |place: usize| ALPHABET[(number / 62_u64.pow(place as u32) % 62) as usize] as char;
    (0..CHECK_CHARACTERS).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_token_is_whole_and_no_two_are_alike() {
        let tokens: std::collections::BTreeSet<String> = (0..200).map(|_| draw().to_string()).collect();
        assert_eq!(tokens.len(), 200);
        for token in tokens {
            assert!(is_whole(&token) && token.len() == 53, "{token}");
        }
    }

    #[test]
    fn a_token_that_was_cut_or_changed_is_known() {
        let token = draw().to_string();
        let mut changed = token.clone().into_bytes();
        changed[10] = if changed[10] == b'a' { b'b' } else { b'a' };
        let changed = String::from_utf8(changed).unwrap();
        let longer = format!("{token}a");
        let upper = token.replace("orc_", "ORC_");
        for bad in ["", "orc_", &token[..52], &longer, &upper, &changed, "orc_ü"] {
            assert!(!is_whole(bad), "{bad}");
        }
    }
}
