//! The proxy from outside: raw bytes in, and what reaches the server behind it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod forward;
mod gate;
mod support;
mod tunnel;
