//! `coordinator team`: the file that names the agents meant to work here.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use coordinator::repository::Repository;
use coordinator::team::{self, Mistake};
use serde_json::json;

use crate::arguments::Globals;
use crate::exit::{Exit, Trouble};
use crate::output;

/// What to do with the team's file.
#[derive(Debug, Subcommand)]
pub enum Team {
    /// Check it; every mistake is told as FILE:LINE:COLUMN: FIELD: what is wrong
    Validate {
        /// The file (default: teams.yaml at the top of the work tree)
        file: Option<PathBuf>,
    },
}

/// Does it.
pub fn run(globals: &Globals, team: Team) -> anyhow::Result<Exit> {
    let Team::Validate { file } = team;
    let file = file.unwrap_or_else(default_file);
    let shown = file.display();
    let read = team::load(&file).map_err(|why| Trouble::usage(format!("{shown} cannot be read: {why}")))?;
    match read {
        None => Err(Trouble::new(Exit::Refused, "team_not_found", format!("there is no {shown}")).into()),
        Some(Ok(team)) => {
            if globals.json {
                let agents: Vec<&str> = team.agents.iter().map(|agent| agent.name.as_str()).collect();
                output::json(&json!({"success": true, "file": file, "team": team.name, "agents": agents}))?;
            } else {
                let line = format!("{shown} is valid: team {}, {} agents", team.name, team.agents.len());
                output::print(output::printable(&line))?;
            }
            Ok(Exit::Done)
        }
        Some(Err(mistakes)) => {
            tell(globals, &file, &mistakes)?;
            Ok(Exit::Usage)
        }
    }
}

fn tell(globals: &Globals, file: &Path, mistakes: &[Mistake]) -> anyhow::Result<()> {
    if globals.json {
        let errors: Vec<_> = mistakes
            .iter()
            .map(|m| json!({"line": m.line, "column": m.column, "field": m.field, "message": m.message}))
            .collect();
        return Ok(output::json(&json!({"success": false, "error": "invalid_team", "file": file, "errors": errors}))?);
    }
    for mistake in mistakes {
        output::tell(output::printable(&format!("{}:{mistake}", file.display())));
    }
    Ok(())
}

/// As seen from here: it is what people read and editors open.
fn default_file() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    match Repository::around(&here) {
        Some(repository) if here.canonicalize().is_ok_and(|here| here != repository.worktree) => {
            repository.worktree.join(team::FILE)
        }
        _ => team::FILE.into(),
    }
}
