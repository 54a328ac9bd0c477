//! Why GitHub gave no answer, and what to do. Never with a token in it.

use jiff::Timestamp;

/// With this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody answers, or only an error of GitHub's own: it may pass.
    #[error("GitHub cannot be reached: {0}")]
    Unreachable(String),
    /// We asked too often: nothing was done.
    #[error("GitHub takes no more requests of this token until {until:.0}: what was read so far is kept; go on then")]
    RateLimited {
        /// When it takes requests again.
        until: Timestamp,
    },
    /// GitHub says no.
    #[error("GitHub refuses to {what}: {message} (HTTP {status}). {advice}")]
    Refused {
        /// What was to be done: "list issues".
        what: &'static str,
        /// HTTP's status.
        status: u16,
        /// Why, in GitHub's words.
        message: String,
        /// What to do.
        advice: &'static str,
    },
    /// An answer that is not what GitHub documents.
    #[error("GitHub's answer to a request to {what} cannot be read: {why}")]
    Unreadable {
        /// What was to be done.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The client cannot be set up so.
    #[error("{0}")]
    Setup(String),
}

impl Error {
    /// Is there no such thing on GitHub, as far as the token can see?
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404 | 410, .. })
    }

    /// What GitHub's refusal of this status mostly means.
    pub(crate) fn advice(status: u16) -> &'static str {
        match status {
            401 => "GITHUB_TOKEN is no token that GitHub knows, or has expired: make a new one",
            403 => "GITHUB_TOKEN lacks a permission for it: docs/github.md lists those that are needed",
            404 | 410 => "It is not there, or GITHUB_REPO or GITHUB_API_URL is wrong, or GITHUB_TOKEN may not see it",
            301 | 302 | 307 | 308 => "The repository has moved: set GITHUB_REPO to its new name",
            _ => "This is not to be expected: see GitHub's status page, and the request in docs/github.md",
        }
    }
}
