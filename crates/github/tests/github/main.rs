//! The client against a server that behaves as GitHub does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod sighting;
