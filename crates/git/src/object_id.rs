//! The name of an object: what a commit or a tree is, to the last bit.

use std::fmt;

/// A full object id, SHA-1 or SHA-256, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(String);

/// A text that is no full object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no full object id: 40 or 64 hexadecimal digits")]
pub struct BadObjectId(String);

impl ObjectId {
    /// Checks it: 40 or 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`BadObjectId`] for anything else, abbreviations included.
    pub fn new(id: &str) -> Result<Self, BadObjectId> {
        let good = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if good { Ok(Self(id.to_ascii_lowercase())) } else { Err(BadObjectId(id.chars().take(80).collect())) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// Does it stand for an object that is not there?
    pub fn is_nothing(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'0')
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_whole_or_none() {
        let id = ObjectId::new("ABCDEF0123456789abcdef0123456789abcdef01").unwrap();
        assert_eq!((id.as_str(), id.short()), ("abcdef0123456789abcdef0123456789abcdef01", "abcdef012345"));
        assert!(ObjectId::new(&"0".repeat(64)).unwrap().is_nothing());
        for bad in ["", "abcdef0", "HEAD", "--all", &"g".repeat(40), &"a".repeat(41)] {
            assert!(ObjectId::new(bad).is_err(), "{bad}");
        }
    }
}
