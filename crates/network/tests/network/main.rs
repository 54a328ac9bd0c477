//! The rules on hosts and URLs that were written down beforehand, and on whatever else comes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod properties;
