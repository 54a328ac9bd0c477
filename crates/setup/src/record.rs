//! What was changed, with the bytes of before and after: kept in a file, so that it can be undone.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::part::Part;
use crate::plan::Edit;
use crate::undo::without;

/// The form that this version writes.
const VERSION: u32 = 1;

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// The work tree or home directory that it was done for.
    pub root: PathBuf,
    /// Each file.
    pub files: Vec<Entry>,
}

/// A file that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which.
    pub path: PathBuf,
    /// What was in it without us; `None` where there was no such file.
    pub before: Option<Content>,
    /// What we left in it.
    pub after: Option<Content>,
    /// What we had left in it before the change that is under way, if one is: it may not have come to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Content>,
    /// What of it is ours.
    pub parts: Vec<Part>,
    /// The directories that were made for it, outermost first.
    pub directories: Vec<PathBuf>,
}

/// Bytes, readable where they are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Text.
    Text(String),
    /// Anything else.
    Base64(String),
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64.encode(bytes)),
        }
    }
}

impl Content {
    /// The bytes. A record is written by us, so that nothing in it is broken.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64(text) => BASE64.decode(text).unwrap_or_default(),
        }
    }
}

impl Entry {
    /// The bytes of before.
    pub fn bytes_before(&self) -> Option<Vec<u8>> {
        self.before.as_ref().map(Content::bytes)
    }

    /// The bytes that we left.
    pub fn bytes_after(&self) -> Option<Vec<u8>> {
        self.after.as_ref().map(Content::bytes)
    }

    /// Is this what we left, or had left before a change that is under way?
    pub fn is_ours(&self, now: Option<&[u8]>) -> bool {
        let is_earlier = self.earlier.is_some() && self.earlier.as_ref().map(Content::bytes).as_deref() == now;
        is_earlier || self.bytes_after().as_deref() == now
    }
}

impl Record {
    /// Nothing done yet.
    pub fn new(root: &Path) -> Self {
        Self { version: VERSION, root: root.to_owned(), files: vec![] }
    }

    /// The name of the record for a work tree.
    pub fn name_for(root: &Path) -> String {
        let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let short: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("work-tree-{short}.json")
    }

    /// The record in a file; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or was written by a later version.
    pub fn load(file: &Path) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| {
            let message =
                format!("{} is not a record of what was set up, or one of a later version: {error}", file.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        if record.version > VERSION {
            let message = format!("{} was written by a later version of the coordinator; use that one", file.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Some(record))
    }

    /// A change that was added is made.
    pub fn settle(&mut self, edit: &Edit) {
        self.files.iter_mut().filter(|entry| entry.path == edit.path).for_each(|entry| entry.earlier = None);
    }

    /// Adds a change that is about to be made. Of several changes of a file only the first knows what was there without us, unless somebody
    /// changed it in between: then it is what they left, without what is ours.
    pub fn add(&mut self, edit: &Edit) {
        let content = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(Content::from);
        let Some(entry) = self.files.iter_mut().find(|entry| entry.path == edit.path) else {
            self.files.push(Entry {
                path: edit.path.clone(),
                before: content(&edit.before),
                after: content(&edit.after),
                earlier: None,
                parts: edit.parts.clone(),
                directories: edit.directories.clone(),
            });
            return;
        };
        let is_ours = entry.is_ours(edit.before.as_deref());
        if !is_ours {
            let theirs =
                edit.before.as_deref().map(|bytes| without(entry, bytes).unwrap_or_else(|_| Some(bytes.to_owned())));
            entry.before = content(&theirs.flatten());
        }
        entry.earlier = content(&edit.before).filter(|_| is_ours);
        entry.after = content(&edit.after);
        entry.directories.extend(edit.directories.iter().cloned());
        let new = edit.parts.iter().filter(|part| !entry.parts.contains(part)).cloned().collect::<Vec<_>>();
        entry.parts.extend(new);
    }
}
