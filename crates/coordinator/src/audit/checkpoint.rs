//! Checkpoints: how many rows the trail has and the root of the tree over them, signed.
//!
//! They are signed notes of the C2SP (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), which any tool for transparency
//! logs reads. Their origin names the trail by the hash of its first row, so that no two trails share one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::chain::Digest256;

use super::signing_key::{SigningKey, VerifierKey};

/// Longer notes are not read, in bytes.
const NOTE_LIMIT: usize = 64 * 1024;

/// What a checkpoint is for. A published one must not do for the removal of what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be kept elsewhere, and compared with later.
    Publication,
    /// To stand for rows that are removed.
    Retention,
}

/// How many rows there are, and the root of the tree over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which trail: the hash of its first row.
    pub trail: Digest256,
    /// How many rows.
    pub size: u64,
    /// The tree's root.
    pub root: Digest256,
}

/// Why a text is no checkpoint to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// It is none.
    #[error("this is no checkpoint of an audit trail")]
    Malformed,
    /// It is, by somebody else.
    #[error("no signature on this checkpoint is by the key it is checked with: name the signer's public key")]
    UnknownSigner,
    /// It was changed.
    #[error("the signature on this checkpoint is false: it was changed, or never signed")]
    FalseSignature,
}

/// The name under which a trail is signed.
pub fn origin(trail: &Digest256, purpose: Purpose) -> String {
    match purpose {
        Purpose::Publication => format!("agent-coordinator/{trail}"),
        Purpose::Retention => format!("agent-coordinator/{trail}/retention"),
    }
}

impl Checkpoint {
    /// Signs it.
    pub fn sign(&self, purpose: Purpose, key: &SigningKey) -> String {
        let name = origin(&self.trail, purpose);
        let text = self.text(purpose);
        let signature = [&key.public().id(&name)[..], &key.sign(&text)].concat();
        format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(signature))
    }

    /// Reads a signed one.
    ///
    /// # Errors
    /// [`BadCheckpoint`] unless it was signed with this key for this purpose.
    pub fn open(note: &str, purpose: Purpose, key: &VerifierKey) -> Result<Self, BadCheckpoint> {
        let (checkpoint, signatures) = Self::parse(note, purpose)?;
        let name = origin(&checkpoint.trail, purpose);
        let text = checkpoint.text(purpose);
        for line in signatures.lines() {
            let mut parts = line.strip_prefix("\u{2014} ").ok_or(BadCheckpoint::Malformed)?.split(' ');
            let (Some(signer), Some(signature), None) = (parts.next(), parts.next(), parts.next()) else {
                return Err(BadCheckpoint::Malformed);
            };
            let signature = STANDARD.decode(signature).map_err(|_| BadCheckpoint::Malformed)?;
            if let Some(signature) = signature.strip_prefix(&key.id(&name))
                && signer == name
            {
                return key.has_signed(&text, signature).then_some(checkpoint).ok_or(BadCheckpoint::FalseSignature);
            }
        }
        Err(BadCheckpoint::UnknownSigner)
    }

    fn parse(note: &str, purpose: Purpose) -> Result<(Self, &str), BadCheckpoint> {
        let read = || {
            let (text, signatures) = note.get(..note.len().min(NOTE_LIMIT))?.rsplit_once("\n\n")?;
            let mut lines = text.split('\n');
            let trail = lines.next()?.strip_prefix("agent-coordinator/")?;
            let trail = match purpose {
                Purpose::Publication => trail,
                Purpose::Retention => trail.strip_suffix("/retention")?,
            };
            let size = lines.next()?;
            let root: [u8; 32] = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
            let checkpoint = Self { trail: trail.parse().ok()?, size: size.parse().ok()?, root: root.into() };
            // Nothing else is in a text of ours, nor is anything spelt otherwise.
            let is_whole = lines.next().is_none() && format!("{text}\n") == checkpoint.text(purpose);
            (is_whole && note.ends_with('\n')).then_some((checkpoint, signatures))
        };
        read().ok_or(BadCheckpoint::Malformed)
    }

    /// The text that is signed.
    fn text(&self, purpose: Purpose) -> String {
        format!("{}\n{}\n{}\n", origin(&self.trail, purpose), self.size, STANDARD.encode(self.root.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_by_its_signers_key_and_for_its_purpose() {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::read_or_make(&directory.path().join("a")).unwrap();
        let other = SigningKey::read_or_make(&directory.path().join("b")).unwrap();
        let checkpoint = Checkpoint { trail: Digest256::of(&[b"t"]), size: 7, root: Digest256::of(&[b"r"]) };
        let note = checkpoint.sign(Purpose::Publication, &key);
        let open = |note: &str, key: &SigningKey| Checkpoint::open(note, Purpose::Publication, &key.public());
        assert_eq!(open(&note, &key), Ok(checkpoint.clone()));
        assert_eq!(open(&note, &other), Err(BadCheckpoint::UnknownSigner));
        assert_eq!(Checkpoint::open(&note, Purpose::Retention, &key.public()), Err(BadCheckpoint::Malformed));
        assert_eq!(note.lines().count(), 5, "{note}");

        // A witness may have signed it too, before or behind us.
        let witness = "\u{2014} witness.example AAAAAAAAAAAA\n";
        assert_eq!(open(&format!("{note}{witness}"), &key), Ok(checkpoint.clone()));
        let body = checkpoint.text(Purpose::Publication);
        assert_eq!(open(&note.replacen(&format!("{body}\n"), &format!("{body}\n{witness}"), 1), &key), Ok(checkpoint));
    }

    #[test]
    fn no_changed_byte_goes_unseen() {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::read_or_make(&directory.path().join("a")).unwrap();
        let checkpoint = Checkpoint { trail: Digest256::of(&[b"t"]), size: 123, root: Digest256::of(&[b"r"]) };
        let note = checkpoint.sign(Purpose::Publication, &key);
        for at in 0..note.len() {
            for byte in [b'0', b'A', b'\n', b' '] {
                let mut changed = note.clone().into_bytes();
                if changed[at] == byte {
                    continue;
                }
                changed[at] = byte;
                if let Ok(changed) = String::from_utf8(changed) {
                    let opened = Checkpoint::open(&changed, Purpose::Publication, &key.public());
                    assert!(opened.is_err(), "{at}: {changed}");
                }
            }
        }
        for cut in (0..note.len()).filter(|cut| note.is_char_boundary(*cut)) {
            assert!(Checkpoint::open(&note[..cut], Purpose::Publication, &key.public()).is_err(), "{cut}");
        }
    }
}
