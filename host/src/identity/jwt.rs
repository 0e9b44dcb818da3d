//! Signed tokens (RFC 7515, RFC 7519): takes one apart, proves its signature with a key of its issuer (RFC 7517), and reads
//! its claims. Pure: where keys come from is in `oidc.rs`. The cryptography is ring's.
//!
//! What a token says about itself never chooses how it is checked: a key has one kind, and only the algorithms of that kind
//! that the settings allow are tried. So `none`, and a public key taken for a shared secret, have no way in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use crate::model::Json;

/// A token's characters, at most; tokens with many groups have some kilobytes.
pub const TOKEN_CHARACTERS_MAX: usize = 16 << 10;

/// Keys of an issuer that are looked at, at most.
pub const KEYS_MAX: usize = 100;

/// A signature's algorithm (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Algorithm {
    /// RSA PKCS#1 1.5 with SHA-256.
    RS256,
    /// With SHA-384.
    RS384,
    /// With SHA-512.
    RS512,
    /// RSA PSS with SHA-256.
    PS256,
    /// With SHA-384.
    PS384,
    /// With SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// All that are known.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];
}

/// A public key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    kid: Option<String>,
    /// The one algorithm that its issuer says it is for.
    only: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A JSON Web Key, as far as it is read.
#[derive(Debug, Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a key set that sign and that are understood; others are passed over.
pub fn keys(set: &Json) -> Vec<Key> {
    let all = set.get("keys").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    all.iter().take(KEYS_MAX).filter_map(|key| Key::of(Jwk::deserialize(key).ok()?)).collect()
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !signs {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let point = |x: Option<String>, y: Option<String>, width: usize| {
            let (x, y) = (bytes(x)?, bytes(y)?);
            (x.len() == width && y.len() == width).then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { modulus: bytes(jwk.n)?, exponent: bytes(jwk.e)? },
            ("EC", Some("P-256")) => Material::P256(point(jwk.x, jwk.y, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(jwk.x, jwk.y, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(jwk.x)?),
            _ => return None,
        };
        Some(Self { kid: jwk.kid, only: jwk.alg, material })
    }

    /// Whether it is the key that a token names, and of the kind that the token's algorithm needs.
    pub fn fits(&self, header: &Header) -> bool {
        let named = header.kid.is_none() || header.kid == self.kid;
        named && self.only.as_ref().is_none_or(|only| *only == header.alg) && self.takes(header.algorithm())
    }

    fn takes(&self, algorithm: Option<Algorithm>) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let Some(algorithm) = algorithm else { return false };
        match self.material {
            Material::Rsa { .. } => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            Material::P256(_) => algorithm == ES256,
            Material::P384(_) => algorithm == ES384,
            Material::Ed25519(_) => algorithm == EdDSA,
        }
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], proof: &[u8]) -> bool {
        if !self.takes(Some(algorithm)) {
            return false;
        }
        let plain = |kind: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(kind, key).verify(message, proof).is_ok()
        };
        match &self.material {
            Material::P256(key) => plain(&signature::ECDSA_P256_SHA256_FIXED, key),
            Material::P384(key) => plain(&signature::ECDSA_P384_SHA384_FIXED, key),
            Material::Ed25519(key) => plain(&signature::ED25519, key),
            Material::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                rsa(algorithm).is_some_and(|kind| key.verify(kind, message, proof).is_ok())
            }
        }
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => return None,
    })
}

/// What a token's header says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Header {
    alg: String,
    /// The key it names.
    pub kid: Option<String>,
    typ: Option<String>,
    crit: Option<Json>,
}

impl Header {
    /// Its algorithm, where it is one that is known.
    pub fn algorithm(&self) -> Option<Algorithm> {
        let named: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
            serde::de::IntoDeserializer::into_deserializer(self.alg.as_str());
        Algorithm::deserialize(named).ok()
    }
}

/// A token taken apart; nothing of it is proved.
#[derive(Debug, Clone)]
pub struct Unproved<'t> {
    /// The header.
    pub header: Header,
    claims: Json,
    message: &'t str,
    proof: Vec<u8>,
}

/// Whether a text looks like a signed token.
pub fn looks_like_one(text: &str) -> bool {
    text.split('.').count() == 3 && text.starts_with("ey")
}

impl<'t> Unproved<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is none, or one that must not be understood (`crit`); the text says why.
    pub fn read(text: &'t str) -> Result<Self, &'static str> {
        if text.len() > TOKEN_CHARACTERS_MAX {
            return Err("the token is longer than any that is accepted");
        }
        let (message, proof) = text.rsplit_once('.').ok_or("the token is no signed token")?;
        let (header, claims) = message.split_once('.').ok_or("the token is no signed token")?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "the token is not well-formed");
        let json = |bytes: Vec<u8>| serde_json::from_slice::<Json>(&bytes).map_err(|_| "the token is not well-formed");
        let header =
            Header::deserialize(&json(decode(header)?)?).map_err(|_| "the token's header is not well-formed")?;
        if header.crit.is_some() {
            return Err("the token asks for what is not known here (`crit`)");
        }
        let typ = header.typ.as_deref().map(|typ| typ.trim_start_matches("application/").to_ascii_lowercase());
        if typ.is_some_and(|typ| typ != "jwt" && typ != "at+jwt") {
            return Err("the token is of another type (`typ`)");
        }
        Ok(Self { header, claims: json(decode(claims)?)?, message, proof: decode(proof)? })
    }

    /// The issuer that it claims.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Json::as_str)
    }

    /// Its claims, where the key has signed them.
    pub fn prove(self, key: &Key, algorithm: Algorithm) -> Option<Json> {
        key.verifies(algorithm, self.message.as_bytes(), &self.proof).then_some(self.claims)
    }
}

/// Whether a proved token is for one of these audiences and good at this second.
///
/// # Errors
/// It is not; the text says why.
pub fn check<'a>(
    claims: &Json,
    mut audiences: impl Iterator<Item = &'a String>,
    now: i64,
    skew: SignedDuration,
) -> Result<(), &'static str> {
    let skew = skew.as_secs() as f64;
    let now = now as f64;
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or("the token's times are not numbers"),
    };
    match time("exp")? {
        None => return Err("the token has no end (`exp`)"),
        Some(end) if now >= end + skew => return Err("the token has ended (`exp`)"),
        Some(_) => {}
    }
    if time("nbf")?.is_some_and(|begin| now + skew < begin) {
        return Err("the token is not good yet (`nbf`)");
    }
    if time("iat")?.is_some_and(|made| now + skew < made) {
        return Err("the token was made in the future (`iat`)");
    }
    let named = |audience: &String| match claims.get("aud") {
        Some(Json::String(one)) => one == audience,
        Some(Json::Array(some)) => some.iter().any(|one| one == audience),
        _ => false,
    };
    if audiences.any(named) { Ok(()) } else { Err("the token is for somebody else (`aud`)") }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn edwards() -> (Ed25519KeyPair, Json) {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": text(pair.public_key().as_ref()) });
        (pair, jwk)
    }

    fn token(header: Json, claims: &Json, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let message = format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
        format!("{message}.{}", text(&sign(message.as_bytes())))
    }

    fn proved(token: &str, jwk: &Json) -> bool {
        let keys = keys(&json!({ "keys": [jwk] }));
        let Ok(token) = Unproved::read(token) else { return false };
        let Some(algorithm) = token.header.algorithm() else { return false };
        let Some(key) = keys.iter().find(|key| key.fits(&token.header)) else { return false };
        token.prove(key, algorithm).is_some()
    }

    #[test]
    fn a_signature_is_proved_by_the_key_that_made_it_and_by_no_other() {
        let (pair, jwk) = edwards();
        let sign = |message: &[u8]| pair.sign(message).as_ref().to_vec();
        let good = token(json!({ "alg": "EdDSA", "kid": "e", "typ": "JWT" }), &json!({ "sub": "ann" }), sign);
        assert!(proved(&good, &jwk) && looks_like_one(&good));
        assert!(!proved(&good, &edwards().1), "another key of the same name");
        let (head, rest) = good.split_once('.').unwrap();
        let (_, proof) = rest.split_once('.').unwrap();
        let forged = format!("{head}.{}.{proof}", text(json!({ "sub": "bob" }).to_string().as_bytes()));
        assert!(!proved(&forged, &jwk));
    }

    #[test]
    fn a_token_on_the_other_curve_is_proved_too() {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let public = pair.public_key().as_ref();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "x": text(&public[1..33]), "y": text(&public[33..]) });
        let sign = |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
        assert!(proved(&token(json!({ "alg": "ES256" }), &json!({}), sign), &jwk));
        assert!(!proved(&token(json!({ "alg": "ES384" }), &json!({}), sign), &jwk));
    }

    /// The example of RFC 7515, A.2.
    #[test]
    fn the_example_of_the_standard_is_proved() {
        let jwk = json!({ "kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddx\
            HmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-\
            bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7\
            aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" });
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
            cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1\
            dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzD\
            wusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgG\
            y9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        assert!(proved(token, &jwk));
        let shorter = json!({ "kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTY" });
        assert!(!proved(token, &shorter));
    }

    #[test]
    fn what_a_token_says_about_itself_never_weakens_the_check() {
        let (pair, jwk) = edwards();
        let sign = |message: &[u8]| pair.sign(message).as_ref().to_vec();
        let public = pair.public_key().as_ref().to_vec();
        let mac = |message: &[u8]| {
            ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public), message).as_ref().to_vec()
        };
        for header in [
            json!({ "alg": "none" }),
            json!({ "alg": "None" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "RS256" }),
            json!({ "alg": "ES256" }),
            json!({ "alg": "EdDSA", "crit": ["exp"] }),
            json!({ "alg": "EdDSA", "typ": "dpop+jwt" }),
            json!({ "alg": "EdDSA", "kid": "another" }),
            json!({ "alg": ["EdDSA"] }),
            json!({}),
        ] {
            assert!(!proved(&token(header.clone(), &json!({}), sign), &jwk), "{header}");
            assert!(!proved(&token(header.clone(), &json!({}), mac), &jwk), "{header}");
            assert!(!proved(&token(header.clone(), &json!({}), |_| Vec::new()), &jwk), "{header}");
        }
        let other = |member: &str, value: Json| {
            let mut jwk = jwk.clone();
            jwk[member] = value;
            proved(&token(json!({ "alg": "EdDSA", "kid": "e" }), &json!({}), sign), &jwk)
        };
        assert!(other("use", json!("sig")) && other("key_ops", json!(["verify"])) && other("alg", json!("EdDSA")));
        assert!(!other("use", json!("enc")) && !other("key_ops", json!(["encrypt"])) && !other("alg", json!("ES256")));
    }

    #[test]
    fn nonsense_is_no_token() {
        for bad in ["", ".", "..", "a.b.c", "e30.e30", "e30.e30.", "ey.ey.ey", &"e".repeat(20_000), "e30.e30.e30.e30"] {
            assert!(!proved(bad, &edwards().1), "{bad}");
        }
    }

    #[test]
    fn times_and_audience_are_held_to_with_leeway() {
        let audiences = ["orchestrator".to_owned(), "other".to_owned()];
        let check = |claims: Json, expected: &str| {
            let found = check(&claims, audiences.iter(), 1_000, SignedDuration::from_secs(60)).err().unwrap_or("good");
            assert!(found.contains(expected), "{claims}: {found}");
        };
        let with = |name: &str, value: Json| {
            let mut claims = json!({ "exp": 2_000, "aud": "orchestrator" });
            claims[name] = value;
            claims
        };
        check(with("aud", json!("orchestrator")), "good");
        check(with("aud", json!(["x", "other"])), "good");
        check(with("aud", json!(["x"])), "`aud`");
        check(with("aud", json!(null)), "`aud`");
        check(with("exp", json!(941)), "good");
        check(with("exp", json!(940)), "`exp`");
        check(with("exp", json!("2000")), "not numbers");
        check(with("exp", json!(null)), "not numbers");
        check(json!({ "aud": "orchestrator" }), "no end");
        check(with("nbf", json!(1_060)), "good");
        check(with("nbf", json!(1_061)), "`nbf`");
        check(with("nbf", json!("0")), "not numbers");
        check(with("iat", json!(1_061.5)), "`iat`");
    }
}
