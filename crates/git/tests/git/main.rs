//! The crate against the real program and real repositories.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod generated;
mod refs;
mod repository;
mod speed;
mod verdicts;
mod worktrees;
