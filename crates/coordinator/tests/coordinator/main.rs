//! What holds of every operation, found by walking the registry, and of the agent behind a process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod agent;
mod authorise;
mod doors;
mod github;
mod guardrails;
mod keys;
mod memories;
mod merging;
mod minimal;
mod network;
mod registry;
mod secrets;
mod support;
mod tampering;
mod trail;
mod trust;
mod verification;
