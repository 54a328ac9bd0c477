//! Libraries of Python's that agents are built with, each in an environment of its own: they do not agree on versions.

use tokio::process::Command;

use super::ground::{Ground, KEY, success};
use super::{Outcome, Trials};
use crate::tools;

/// Libraries, what imports of them must work, and the programs that use them.
const LIBRARIES: [(&str, &str, &str); 2] =
    [("fastmcp==4.*", "fastmcp", "fastmcp_client.py"), ("strands-agents==1.*", "strands", "strands_client.py")];

/// Runs the programs.
pub async fn run(ground: &Ground, trials: &mut Trials) {
    for (library, module, program) in LIBRARIES {
        trials.attempt(&format!("python {module}"), drive(ground, library, module, program)).await;
    }
}

async fn drive(ground: &Ground, library: &str, module: &str, program: &str) -> anyhow::Result<Outcome> {
    let Some(python) = tools::need_python_library(&format!("clients/venv-{module}"), library, module)? else {
        return Ok(Outcome::Skipped(tools::NO_PYTHON));
    };
    let url = format!("{}/mcp", ground.round_robin.url);
    let said = success(Command::new(python).arg(format!("xtask/src/clients/{program}")).args([&url, KEY])).await?;
    Ok(Outcome::Passed(said.trim().to_owned()))
}
