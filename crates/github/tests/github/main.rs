//! The client against a server that behaves as GitHub does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
