//! The real binary, from outside: commands and their exit codes, the HTTP server's life, and MCP as an agent speaks it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod audit;
mod bridge;
mod container;
mod coordination_bridge;
mod demo;
mod git_guard;
mod github;
mod handoffs;
mod hooks;
mod init;
mod locks;
mod mcp;
mod memory;
mod merging;
mod network;
mod official_client;
mod outbound;
mod ports;
mod project;
mod radar;
mod radar_moments;
mod serve;
mod setup;
mod skills;
mod story;
mod supabase;
mod team;
mod trust;
mod verify;
mod verify_github;
mod web;
mod work;
