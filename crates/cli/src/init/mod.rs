//! `coordinator init`: sets the agents up to work with the coordinator, in one step that can be taken back.

pub mod ground;
mod report;

use std::collections::BTreeSet;

use clap::ValueEnum;
use setup::apply::Journal;
use setup::undo::{Undo, undo};
use setup::vendor::Agent;
use setup::{Disk, Record};

use crate::arguments::Globals;
use crate::exit::{Exit, Trouble};
use ground::{Ground, ScopeName, Set};
use report::Report;

/// Whether to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Only show what would be done.
    Show,
    /// Do it.
    Do,
}

/// What to set up.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// Set up these agents, instead of those that are installed
    #[arg(long, value_delimiter = ',', value_name = "AGENTS")]
    agents: Vec<AgentName>,
    /// For whom
    #[arg(long, value_enum, default_value = "project")]
    scope: ScopeName,
    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Give every file back as it was
    #[arg(long, conflicts_with = "agents")]
    undo: bool,
}

/// The agents that can be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AgentName {
    /// Claude Code
    Claude,
    /// Codex
    Codex,
    /// Gemini CLI
    Gemini,
}

impl From<AgentName> for Agent {
    fn from(name: AgentName) -> Self {
        match name {
            AgentName::Claude => Self::Claude,
            AgentName::Codex => Self::Codex,
            AgentName::Gemini => Self::Gemini,
        }
    }
}

/// Sets up, or takes back.
pub fn run(globals: &Globals, init: &Init) -> anyhow::Result<Exit> {
    let ground = Ground::find(init.scope.into())?;
    let intent = if init.dry_run { Intent::Show } else { Intent::Do };
    let report = if init.undo {
        take_back(&ground, intent)?
    } else {
        set_up(&ground, init.agents.iter().map(|name| (*name).into()).collect(), intent)?
    };
    report.show(&ground, globals.json)?;
    Ok(if report.has_problems() { Exit::Refused } else { Exit::Done })
}

/// Sets up the agents that were chosen, or those that are here.
pub fn set_up(ground: &Ground, chosen: BTreeSet<Agent>, intent: Intent) -> anyhow::Result<Report> {
    let record = load(&ground.record_file())?.unwrap_or_else(|| Record::new(&ground.place.root));
    let agents = if chosen.is_empty() { ground.agents(&record) } else { chosen };
    let mut report = Report::of_set_up(&agents, intent);
    for Set { record_file, root, plan } in ground.plan(&agents) {
        // Also where nothing is to be changed: somebody may have been killed and left something.
        let failed = if intent == Intent::Show || plan.edits.is_empty() && !record_file.exists() {
            vec![]
        } else {
            let mut journal = Journal::open(&record_file, &root).map_err(unrecorded)?;
            journal.carry_out(&plan.edits).map_err(unrecorded)?
        };
        report.add_plan(plan, failed);
    }
    report.steps = agents.iter().flat_map(|agent| agent.steps(&ground.place, &Disk)).collect();
    Ok(report)
}

fn take_back(ground: &Ground, intent: Intent) -> anyhow::Result<Report> {
    let mut report = Report::of_undo(intent);
    let own = (ground.record_file(), true);
    let others = ground.other_work_trees();
    let shared = (ground.shared_record_file(), others.is_empty());
    for (file, is_to_go) in [own, shared] {
        let Some(record) = load(&file)? else { continue };
        if !is_to_go {
            let names: Vec<String> = others.iter().map(|root| root.display().to_string()).collect();
            let stays = format!("The git hooks stay: other work trees use them ({}).", names.join(", "));
            report.steps.push(stays);
            continue;
        }
        let undone = if intent == Intent::Show {
            let plan = undo(&Disk, &record);
            let problems = plan.problems.clone();
            (plan, problems)
        } else {
            let mut journal = Journal::open(&file, &record.root).map_err(unrecorded)?;
            // Looked at again, now that nobody else is at it.
            let plan: Undo = undo(&Disk, &journal.record);
            let problems = journal.take_back(&plan).map_err(unrecorded)?;
            (plan, problems)
        };
        report.add_undo(undone.0, undone.1);
    }
    Ok(report)
}

fn load(file: &std::path::Path) -> Result<Option<Record>, Trouble> {
    Record::load(file).map_err(|error| Trouble::new(Exit::Usage, "bad_record", error.to_string()))
}

fn unrecorded(error: std::io::Error) -> Trouble {
    let message = format!("nothing more was changed, because the record of it cannot be written: {error}");
    Trouble::new(Exit::Unreachable, "no_record", message)
}
