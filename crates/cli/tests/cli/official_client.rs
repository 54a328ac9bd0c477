//! The MCP project's own Python client against our server, where there is a Python that has it.

use std::process::Command;

use crate::project::{COORDINATOR, Project};

/// Names that Python; `cargo xtask test` provides one.
const PYTHON: &str = "COORDINATOR_TEST_PYTHON";

#[test]
fn the_official_client_works_with_us() {
    let Some(python) = std::env::var_os(PYTHON) else {
        println!("{PYTHON} is not set: skipped");
        return;
    };
    let project = Project::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/mcp_client.py");
    let output = Command::new(python).arg(script).arg(COORDINATOR).arg(&project.path).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
