//! The crate against the real program and real repositories.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod refs;
mod repository;
mod worktrees;
