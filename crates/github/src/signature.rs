//! Does a webhook's body come from who knows the secret?

use ring::hmac;

use crate::Secret;

/// The header it is in.
pub const HEADER: &str = "x-hub-signature-256";
/// What a signature begins with.
const PREFIX: &str = "sha256=";

/// Is this the signature of the body? Compared in constant time, so that nobody finds it byte by byte.
pub fn is_valid(secret: &Secret, body: &[u8], signature: &str) -> bool {
    let Some(tag) = signature.strip_prefix(PREFIX).and_then(bytes_of_hex) else { return false };
    hmac::verify(&key(secret), body, &tag).is_ok()
}

/// The signature of a body: what GitHub sends.
pub fn sign(secret: &Secret, body: &[u8]) -> String {
    let tag = hmac::sign(&key(secret), body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{hex}")
}

fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes())
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_githubs_documentation_is_accepted() {
        let secret = Secret::new("It's a Secret to Everybody");
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(is_valid(&secret, b"Hello, World!", signature));
        assert_eq!(sign(&secret, b"Hello, World!"), signature);
    }

    #[test]
    fn anything_else_is_not() {
        let secret = Secret::new("s");
        let good = sign(&secret, b"body");
        assert!(is_valid(&secret, b"body", &good));
        assert!(!is_valid(&secret, b"Body", &good));
        assert!(!is_valid(&Secret::new("t"), b"body", &good));
        for bad in [
            "",
            "sha256=",
            "sha1=00",
            &good[7..],
            &good[..good.len() - 2],
            &format!("{good}00"),
            "sha256=zz",
            "sha256=é",
        ] {
            assert!(!is_valid(&secret, b"body", bad), "{bad}");
        }
    }
}
