//! How a file is told apart from what it was.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Larger files are told apart by size and time alone, in bytes.
const HASHED_LIMIT: u64 = 32 * 1024 * 1024;

/// What a file was at some moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its size in bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// When it was last changed, in nanoseconds since 1970. No wider number: a tagged line of the log could not be read again.
    #[serde(rename = "m")]
    pub changed: i64,
    /// Which file it is on its disk.
    #[serde(rename = "i")]
    pub inode: u64,
    /// What is in it.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// Of the file as it is; nothing where there is no file.
pub fn take(path: &Path) -> Option<Fingerprint> {
    let mut print = outside(path)?;
    if print.size <= HASHED_LIMIT {
        print.hash = hash(path);
    }
    Some(print)
}

/// The same without what is in it.
pub fn outside(path: &Path) -> Option<Fingerprint> {
    let file = std::fs::metadata(path).ok().filter(|file| file.is_file())?;
    let changed = file.mtime().saturating_mul(1_000_000_000).saturating_add(file.mtime_nsec());
    Some(Fingerprint { size: file.len(), changed, inode: file.ino(), hash: None })
}

/// Is the file what it was? Its content decides: a file that was written anew with what was in it is the same.
pub fn is_as(path: &Path, before: &Fingerprint) -> bool {
    let Some(now) = outside(path) else { return false };
    if (now.size, now.changed, now.inode) == (before.size, before.changed, before.inode) {
        return true;
    }
    now.size == before.size && before.hash.is_some() && hash(path) == before.hash
}

fn hash(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 65_536]);
    loop {
        match file.read(&mut buffer).ok()? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    Some(digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a");
        assert_eq!(take(&path), None);
        std::fs::write(&path, "one").unwrap();
        let before = take(&path).unwrap();
        assert!(is_as(&path, &before));
        std::fs::remove_file(&path).unwrap();
        assert!(!is_as(&path, &before));
        std::fs::write(&path, "one").unwrap();
        assert!(is_as(&path, &before), "the same text");
        std::fs::write(&path, "two").unwrap();
        assert!(!is_as(&path, &before), "another text of the same length");
        assert_eq!(take(temp.path()), None, "a directory is no file");
    }
}
