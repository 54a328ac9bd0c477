//! `cargo xtask test`: everything that must hold before a change goes in.

use std::process::Command;

use testing::postgres::{Cluster, SERVER_VARIABLE};

use crate::steps::Steps;
use crate::tools;

/// The profile of CI.
pub const CI: &str = "ci";
/// Names the Python that has the MCP client library, for the tests that drive us with it.
const PYTHON_VARIABLE: &str = "COORDINATOR_TEST_PYTHON";

/// What makes the shared server quick. Nobody pulls the plug on it: tests of durability start a server of their own.
const SERVER_SETTINGS: [(&str, &str); 3] = [("fsync", "off"), ("full_page_writes", "off"), ("max_connections", "500")];

/// From what properties draw their cases in CI: what is drawn there must not decide whether an unrelated change goes in.
/// Everywhere else they draw others each time.
const FIXED_SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "1");

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The profile in `.config/nextest.toml`.
    #[arg(long, default_value = "default")]
    pub profile: String,
    /// Passed on to `cargo nextest run`, such as `-E 'package(store)'`.
    #[arg(last = true)]
    pub nextest: Vec<String>,
}

/// Installs what is missing, runs every check even when one fails, and fails if one did.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let python = steps.time("tools", || {
        tools::need_postgres()?;
        tools::need_pgbouncer()?;
        tools::need_cargo_tool("nextest", &[])?;
        // Without optimisation it is built in a third of the time, and it runs for a second.
        tools::need_cargo_tool("deny", &["--debug"])?;
        tools::need_python()
    })?;
    let server = steps.time("server", || Cluster::start_with(&SERVER_SETTINGS))?;
    let cargo = |line: &[&str]| {
        let mut command = tools::cargo();
        command.args(line).env(SERVER_VARIABLE, server.dsn("postgres"));
        command.envs(python.iter().map(|python| (PYTHON_VARIABLE, python)));
        command
    };

    steps.run(&mut cargo(&["fmt", "--all", "--check"]));
    // Without the advisories: their database comes from no package registry, and changes under a commit's feet.
    steps.run(&mut cargo(&["deny", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"]));
    steps.run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]));
    steps.run(&mut cargo(&["test", "--workspace", "--doc", "--quiet"]));
    let nextest: &mut Command = &mut cargo(&["nextest", "run", "--workspace", "--profile", &arguments.profile]);
    if arguments.profile == CI {
        nextest.env(FIXED_SEED.0, FIXED_SEED.1);
    }
    // Last, so that what it found is what one reads first.
    steps.run(nextest.args(&arguments.nextest));
    steps.finish()
}
