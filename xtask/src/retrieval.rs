//! `cargo xtask retrieval`: how well memories are found, beside plain full text search and plain recency, and how fast
//! among a hundred thousand. The measuring itself is in the store's tests, which also assert the goals.

use anyhow::ensure;

use crate::tools;

/// What `cargo xtask retrieval` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the questions to tune on, and where they fail: for whoever works on the ranking.
    #[arg(long)]
    tuning: bool,
}

/// Prints the tables.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let tests: &[&str] = if arguments.tuning {
        &["retrieval::tuning"]
    } else {
        tools::need_postgres()?;
        &["retrieval::the_table", "retrieval::at_scale"]
    };
    let test = ["test", "--quiet", "--release", "--package", "store", "--test", "store", "--"];
    let how = ["--ignored", "--exact", "--nocapture", "--test-threads", "1"];
    let status = tools::cargo().args(test).args(tests).args(how).status()?;
    ensure!(status.success(), "measuring failed: {status}");
    Ok(())
}
