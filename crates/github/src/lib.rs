//! GitHub, as far as agents are coordinated by it.
//!
//! - [`client`]: the few endpoints we need, asked within GitHub's limits; [`issues`], [`pulls`], [`branches`],
//!   [`workflows`]: what they answer
//! - [`limits`]: how long GitHub tells us to wait
//! - [`signature`]: does a webhook's body come from who knows the secret?
//! - [`events`]: a webhook's body in, sightings out; [`sighting`]: what was seen of an issue, a pull request or a branch, and
//!   what is known of it then. Polling makes the same sightings, so that both ways lead to the same state
//! - [`version`]: which of two sightings is the later one
//!
//! It knows no store and decides about nothing: what becomes of a sighting is the coordinator's business.

pub mod branches;
pub mod client;
pub mod error;
pub mod events;
pub mod issues;
pub mod limits;
pub mod pulls;
pub mod sighting;
pub mod signature;
pub mod version;
pub mod workflows;

pub use client::{Client, Connection, Patience};
pub use error::{Error, Result};

use std::fmt;

/// A repository on GitHub: `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// Reads it.
    ///
    /// # Errors
    /// A sentence, when it is none.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let is_name = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && !matches!(part, "." | "..")
        };
        match text.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => Ok(Self(text.to_owned())),
            _ => Err("must be a repository as owner/name".into()),
        }
    }

    /// As GitHub writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// GitHub does not tell names apart by upper and lower case.
    pub fn is(&self, full_name: &str) -> bool {
        self.0.eq_ignore_ascii_case(full_name)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret: it is shown to GitHub and to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// This text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever is to have it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_an_owner_and_a_name() {
        for good in ["o/n", "Codertocat/Hello-World", "a-b/c_d.e"] {
            assert_eq!(RepositoryName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "o", "o/", "/n", "o/n/x", "o/..", "o/n?x", "https://github.com/o/n", "o n/x"] {
            assert!(RepositoryName::parse(bad).is_err(), "{bad}");
        }
        assert!(RepositoryName::parse("o/n").unwrap().is("O/N"));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("ghp_x")), "Secret");
    }
}
