//! `cargo xtask ci`: the test command that the README names, telling of every failure and not only the first.

use crate::test;

/// Runs it.
pub fn run() -> anyhow::Result<()> {
    test::run(&test::Arguments { profile: test::CI.into(), nextest: Vec::new() })
}
