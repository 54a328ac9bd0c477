//! What holds of the HTTP door: a real server on a real port, asked by a real client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod audit_and_agents;
mod bad_input;
mod bad_transport;
mod contract;
mod errors;
mod events;
mod features;
mod github;
mod guardrails;
mod handoffs;
mod health;
mod identity;
mod locks;
mod mcp;
mod merge_queue;
mod messages;
#[path = "../../../coordinator/tests/coordinator/minimal.rs"]
mod minimal;
mod openapi;
mod ports;
mod projects;
mod routes;
mod server;
mod stopping;
mod team;
mod waiting;
mod work;
