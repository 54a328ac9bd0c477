//! The key that signs checkpoints: made when it is first needed, in a file that only its owner can read, and never in the
//! database whose trail it vouches for.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Says in a note's key that it is an Ed25519 one.
const ED25519_TYPE: u8 = 1;
/// What precedes the 32 secret bytes in a private key's usual file format (PKCS #8), which `openssl pkey` reads.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const PEM: [&str; 2] = ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"];

/// A private key.
pub struct SigningKey(Ed25519KeyPair);

/// Why there is no private key.
#[derive(Debug, thiserror::Error)]
pub enum NoSigningKey {
    /// Nowhere to keep one.
    #[error("there is no place for the key that signs checkpoints: set AUDIT_SIGNING_KEY to the name of a file")]
    NoPlace,
    /// The file cannot be read or made.
    #[error("the key that signs checkpoints cannot be read or made, {}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The file holds something else.
    #[error("{} is no Ed25519 private key in PEM: move it away, and a new key is made", path.display())]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// The machine has no randomness.
    #[error("there is no randomness for a key")]
    NoRandomness,
}

impl SigningKey {
    /// The key in this file; `None` when there is no such file.
    ///
    /// # Errors
    /// [`NoSigningKey`]
    pub fn read(path: &Path) -> Result<Option<Self>, NoSigningKey> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(NoSigningKey::File { path: path.to_owned(), why }),
        };
        let seed = seed_of(&text).ok_or_else(|| NoSigningKey::NoKey { path: path.to_owned() })?;
        Self::of_seed(&seed).map(Some)
    }

    /// The key in this file, which is made where there is none.
    ///
    /// # Errors
    /// [`NoSigningKey`]
    pub fn read_or_make(path: &Path) -> Result<Self, NoSigningKey> {
        if let Some(key) = Self::read(path)? {
            return Ok(key);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| NoSigningKey::NoRandomness)?;
        let der = [&PKCS8_PREFIX[..], &seed].concat();
        let text = format!("{}\n{}\n{}\n", PEM[0], STANDARD.encode(der), PEM[1]);
        match write_new(path, &text) {
            Ok(()) => Self::of_seed(&seed),
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(path)?.ok_or(NoSigningKey::NoKey { path: path.to_owned() })
            }
            Err(why) => Err(NoSigningKey::File { path: path.to_owned(), why }),
        }
    }

    fn of_seed(seed: &[u8; 32]) -> Result<Self, NoSigningKey> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| NoSigningKey::NoRandomness)
    }

    /// What its signatures are checked with.
    pub fn public(&self) -> VerifierKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        VerifierKey(bytes)
    }

    /// Its signature.
    pub fn sign(&self, text: &str) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.0.sign(text.as_bytes()).as_ref());
        bytes
    }
}

/// Written whole beside its place and then put there, so that nobody ever reads half of it or replaces another's.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let placed = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    placed
}

fn seed_of(pem: &str) -> Option<[u8; 32]> {
    let body = pem.split_once(PEM[0])?.1.split_once(PEM[1])?.0;
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).ok()?.strip_prefix(&PKCS8_PREFIX)?.try_into().ok()
}

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifierKey([u8; 32]);

impl VerifierKey {
    /// The key's number under a name, as signed notes have it.
    pub fn id(&self, name: &str) -> [u8; 4] {
        let digest = model::chain::Digest256::of(&[name.as_bytes(), b"\n", &[ED25519_TYPE], &self.0]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        [a, b, c, d]
    }

    /// The key under a name, as tools for signed notes take it: `NAME+ID+KEY`.
    pub fn named(&self, name: &str) -> String {
        let id = u32::from_be_bytes(self.id(name));
        format!("{name}+{id:08x}+{self}")
    }

    /// Did the owner of the private key sign this?
    pub fn has_signed(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode([&[ED25519_TYPE], &self.0[..]].concat()))
    }
}

/// A text that is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a public key as `coordinator audit key` prints it, NAME+ID+KEY or its last part")]
pub struct NoVerifierKey;

impl FromStr for VerifierKey {
    type Err = NoVerifierKey;

    fn from_str(text: &str) -> Result<Self, NoVerifierKey> {
        // The key itself may hold a plus, too; name and number may not.
        let key = text.trim().splitn(3, '+').last().filter(|_| text.contains('/')).unwrap_or(text.trim());
        [key, text.trim()]
            .iter()
            .find_map(|key| {
                let bytes = STANDARD.decode(key).ok()?;
                bytes.strip_prefix(&[ED25519_TYPE])?.try_into().ok().map(Self)
            })
            .ok_or(NoVerifierKey)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/key.pem");
        assert!(SigningKey::read(&path).unwrap().is_none());
        let made = SigningKey::read_or_make(&path).unwrap().public();
        assert_eq!(SigningKey::read_or_make(&path).unwrap().public(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
        fs::write(&path, "something else").unwrap();
        assert!(matches!(SigningKey::read_or_make(&path), Err(NoSigningKey::NoKey { .. })));
    }

    #[test]
    fn a_public_key_is_read_as_it_is_written() {
        for number in 0..64 {
            let key = SigningKey::of_seed(&[number; 32]).unwrap().public();
            assert_eq!(key.named("a.example/b").parse(), Ok(key));
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for wrong in ["", "a", "a/b+00000000+AQ==", "AAAA"] {
            assert_eq!(wrong.parse::<VerifierKey>(), Err(NoVerifierKey), "{wrong}");
        }
    }

    /// RFC 8032, test 1.
    #[test]
    fn it_is_the_ed25519_of_the_standard() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let seed: [u8; 32] = std::array::from_fn(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap());
        let key = SigningKey::of_seed(&seed).unwrap();
        let signature = key.sign("");
        assert_eq!(signature[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert!(key.public().has_signed("", &signature));
        assert!(!key.public().has_signed("a", &signature));
    }
}
