//! What holds of every store: the conformance cases, the differential test, and many writers at once.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod concurrency;
mod conformance;
mod differential;
mod harness;
mod opening;
mod postgrest;
