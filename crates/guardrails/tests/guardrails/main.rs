//! The guard from outside.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod disguises;
mod packs;
mod reaches;
mod touches;
mod work;
