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
mod github;
mod guard;
mod guard_packs;
mod handoffs;
mod hook;
mod init;
mod keys;
mod lines;
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
mod verify;
mod watch;
mod work;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    // What lands changes runs tests below this program, which starts itself so. It is no command of anybody's.
    if std::env::args_os().nth(1).is_some_and(|first| first == merge::KEEPER) && std::env::args_os().len() == 2 {
        return verification::keeper::main();
    }
    let Arguments { globals, command } = Arguments::parse();
    exit::code(&globals, command.run(&globals))
}
