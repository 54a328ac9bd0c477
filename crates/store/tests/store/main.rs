//! What holds of every store: the conformance cases, the differential test, many writers at once, and
//! how well memories are found.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod concurrency;
mod conformance;
mod differential;
mod harness;
mod opening;
mod postgrest;
mod retrieval;
