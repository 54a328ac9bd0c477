//! The `coordinator` binary: parses the command line, runs the command, and ends with an exit code.

mod agents;
mod approvals;
mod arguments;
mod audit;
mod audit_proofs;
mod bridge;
mod call;
mod connect;
mod demo;
mod desk;
mod doctor;
mod exit;
mod features;
mod fields;
mod files;
mod git;
mod guard;
mod guard_packs;
mod handoffs;
mod hook;
mod init;
mod keys;
mod locks;
mod logs;
mod mcp;
mod memory;
mod merge;
mod messages;
mod migrate;
mod network;
mod output;
mod paths;
mod policy;
mod ports;
mod profile;
mod proxy;
mod radar;
mod run;
mod serve;
mod status;
mod team;
mod time;
mod watch;
mod work;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let Arguments { globals, command } = Arguments::parse();
    exit::code(&globals, command.run(&globals))
}
