//! The audit trail's chain of hashes: how a row becomes bytes, and a hash that stands for it and all before it.
//!
//! `docs/trust.md` says the same in words, and `functions/audit.sql` in PL/pgSQL. A row's canonical form is made of exactly
//! what is stored of it, column by column, so that no column can change unseen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Keeps these hashes apart from any others.
const DOMAIN: &[u8] = b"agent-coordinator audit v1\n";

/// The columns of a canonical row, in order.
pub const COLUMNS: [&str; 13] = [
    "project",
    "seq",
    "id",
    "agent_id",
    "agent_type",
    "session_id",
    "operation",
    "parameters",
    "result",
    "duration_ms",
    "success",
    "error_message",
    "created_at",
];

/// A SHA-256 hash; written in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest256([u8; 32]);

impl Digest256 {
    /// What comes before the first row.
    pub const START: Self = Self([0; 32]);

    /// Of the parts, one after another.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut sha256 = Sha256::new();
        for part in parts {
            sha256.update(part);
        }
        Self(sha256.finalize().into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest256 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct NotADigest;

impl FromStr for Digest256 {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(NotADigest);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).map_err(|_| NotADigest)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotADigest)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest256 {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest256> for String {
    fn from(digest: Digest256) -> Self {
        digest.to_string()
    }
}

/// The hash of a row, given that of the row before it.
pub fn link(previous: &Digest256, row: &CanonicalRow) -> Digest256 {
    Digest256::of(&[DOMAIN, &previous.0, &row.0])
}

/// A row as it is hashed: each column as `LENGTH:BYTES,`, and `-,` where it is null. The length is that of the bytes, in
/// decimal, so that no two rows look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalRow(Vec<u8>);

impl CanonicalRow {
    /// Without any column yet.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// As a database or a proof holds it.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The next column.
    pub fn push(&mut self, column: Option<&[u8]>) {
        match column {
            Some(bytes) => {
                self.digits(bytes.len() as i64);
                self.0.push(b':');
                self.0.extend_from_slice(bytes);
                self.0.push(b',');
            }
            None => self.0.extend_from_slice(b"-,"),
        }
    }

    /// The next column, a number.
    pub fn push_number(&mut self, number: i64) {
        let mut text = Self(Vec::with_capacity(20));
        text.digits(number);
        self.push(Some(&text.0));
    }

    /// The next column, an id.
    pub fn push_id(&mut self, id: Uuid) {
        self.push(Some(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes()));
    }

    fn digits(&mut self, number: i64) {
        use std::io::Write;
        // Writing to a vector cannot fail.
        let _ = write!(self.0, "{number}");
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The columns as they were pushed; `None` when these are not bytes of a row.
    pub fn columns(&self) -> Option<[Option<&[u8]>; COLUMNS.len()]> {
        let mut columns = [None; COLUMNS.len()];
        let mut rest = &self.0[..];
        for column in &mut columns {
            if let Some(after) = rest.strip_prefix(b"-,") {
                rest = after;
                continue;
            }
            let colon = rest.iter().take(20).position(|byte| *byte == b':')?;
            let length: usize = str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
            let bytes = rest.get(colon + 1..)?.get(..length)?;
            rest = rest[colon + 1 + length..].strip_prefix(b",")?;
            *column = Some(bytes);
        }
        rest.is_empty().then_some(columns)
    }

    /// One column's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        let at = COLUMNS.iter().position(|column| *column == name)?;
        str::from_utf8(self.columns()?[at]?).ok()
    }
}

/// A row of the trail, as a verifier reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainedRow {
    /// Its position, as it is stored.
    pub seq: i64,
    /// All that is stored of it but the hash.
    pub row: CanonicalRow,
    /// The hash that is stored with it; `None` for what is none.
    pub hash: Option<Digest256>,
}

/// What is left of the rows that were pruned: enough to verify those after them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// How many rows are sealed: the first ones of the trail, up to this position.
    pub size: i64,
    /// The hash of the last of them.
    pub hash: Digest256,
    /// The Merkle tree over them: see [`Frontier`](crate::merkle::Frontier).
    pub frontier: Vec<Digest256>,
    /// Which trail it is: the hash of its first row.
    pub trail: Digest256,
    /// The signed checkpoint of this size.
    pub checkpoint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[Option<&[u8]>]) -> CanonicalRow {
        let mut row = CanonicalRow::with_capacity(0);
        columns.iter().for_each(|column| row.push(*column));
        row
    }

    #[test]
    fn no_two_rows_look_alike() {
        let alike: [&[Option<&[u8]>]; 5] = [
            &[Some(b"a"), Some(b"b")],
            &[Some(b"ab"), Some(b"")],
            &[Some(b"a"), None],
            &[None, Some(b"a")],
            &[Some(b"-")],
        ];
        for (at, one) in alike.iter().enumerate() {
            for other in &alike[at + 1..] {
                assert_ne!(row(one), row(other));
            }
        }
        assert_eq!(row(&[Some("é".as_bytes()), None]).as_bytes(), b"2:\xc3\xa9,-,");
    }

    #[test]
    fn columns_come_back() {
        let columns: [Option<&[u8]>; COLUMNS.len()] =
            std::array::from_fn(|at| [Some(&b"a,1:b"[..]), None, Some(&b""[..])][at % 3]);
        let whole = row(&columns);
        assert_eq!(whole.columns(), Some(columns));
        for cut in 0..whole.as_bytes().len() {
            assert_eq!(CanonicalRow::from_bytes(whole.as_bytes()[..cut].to_vec()).columns(), None);
        }
        assert_eq!(CanonicalRow::from_bytes(b"99999999999999999999:".to_vec()).columns(), None);
    }

    /// What the documentation shows, and whoever writes a verifier of their own can begin with.
    #[test]
    fn the_first_link_is_as_documented() {
        let mut row = CanonicalRow::with_capacity(0);
        row.push(Some(b"p"));
        row.push_number(1);
        row.push_id(Uuid::nil());
        for column in ["ann", "human"] {
            row.push(Some(column.as_bytes()));
        }
        row.push(None);
        for column in ["heartbeat", "{}", "null"] {
            row.push(Some(column.as_bytes()));
        }
        row.push_number(0);
        row.push_number(1);
        row.push(None);
        row.push_number(1_767_225_600_000_000);
        assert_eq!(
            str::from_utf8(row.as_bytes()),
            Ok("1:p,1:1,36:00000000-0000-0000-0000-000000000000,3:ann,5:human,-,9:heartbeat,2:{},4:null,1:0,1:1,-,\
                16:1767225600000000,")
        );
        let by_hand = Sha256::digest([DOMAIN, &[0; 32], row.as_bytes()].concat());
        assert_eq!(link(&Digest256::START, &row).as_bytes(), by_hand.as_slice());
        assert_eq!(link(&Digest256::START, &row).to_string().parse(), Ok(link(&Digest256::START, &row)));
    }
}
