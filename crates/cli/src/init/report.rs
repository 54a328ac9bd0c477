//! What a set-up or its undoing says: each file in a line, what failed and why, and what is left to the user.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use setup::diff::unified;
use setup::undo::{Changed, Undo};
use setup::vendor::Agent;
use setup::{Edit, Plan, Problem};

use super::Intent;
use super::ground::Ground;
use crate::output::{self, Tint};

/// What was done, or would be.
pub struct Report {
    kind: Kind,
    is_dry: bool,
    edits: Vec<Edit>,
    unchanged: Vec<PathBuf>,
    changed: Vec<Changed>,
    problems: Vec<Problem>,
    /// What is left to the user.
    pub steps: Vec<String>,
}

enum Kind {
    SetUp(BTreeSet<Agent>),
    Undo,
}

impl Report {
    /// Of a set-up of these agents.
    pub fn of_set_up(agents: &BTreeSet<Agent>, intent: Intent) -> Self {
        Self::new(Kind::SetUp(agents.clone()), intent)
    }

    /// Of its undoing.
    pub fn of_undo(intent: Intent) -> Self {
        Self::new(Kind::Undo, intent)
    }

    fn new(kind: Kind, intent: Intent) -> Self {
        let is_dry = intent == Intent::Show;
        Self { kind, is_dry, edits: vec![], unchanged: vec![], changed: vec![], problems: vec![], steps: vec![] }
    }

    /// Adds a plan, and what of it failed.
    pub fn add_plan(&mut self, plan: Plan, failed: Vec<Problem>) {
        self.unchanged.extend(plan.unchanged);
        self.problems.extend(plan.problems);
        self.add_edits(plan.edits, failed);
    }

    /// Adds what was undone, and what could not be.
    pub fn add_undo(&mut self, undo: Undo, problems: Vec<Problem>) {
        self.unchanged.extend(undo.already);
        self.changed.extend(undo.changed);
        self.add_edits(undo.edits, problems);
    }

    fn add_edits(&mut self, edits: Vec<Edit>, failed: Vec<Problem>) {
        let is_done = |edit: &Edit| !failed.iter().any(|problem| problem.path == edit.path);
        self.edits.extend(edits.into_iter().filter(is_done));
        self.problems.extend(failed);
    }

    /// Is anything not as it should be?
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The files that were changed, in words.
    pub fn files(&self, ground: &Ground) -> Vec<String> {
        self.edits.iter().map(|edit| ground.short(&edit.path)).collect()
    }

    /// Prints it.
    pub fn show(&self, ground: &Ground, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            output::json(&self.view(ground))?;
            return Ok(());
        }
        if self.is_dry {
            self.show_diffs(ground)?;
        } else {
            self.show_files(ground)?;
        }
        self.show_changed(ground)?;
        for problem in &self.problems {
            let path = ground.short(&problem.path);
            output::complain(format_args!("{path} is left as it is: {}", problem.message));
        }
        let steps = if self.steps.is_empty() { None } else { Some("\nLeft to you:") };
        let steps = steps.into_iter().map(str::to_owned).chain(self.steps.iter().map(|step| format!("  - {step}")));
        steps.map(output::print).collect::<Result<(), _>>()?;
        self.show_end()
    }

    fn show_files(&self, ground: &Ground) -> anyhow::Result<()> {
        if let Kind::SetUp(agents) = &self.kind {
            output::print(heading(agents))?;
        }
        let width = self.edits.iter().map(|edit| ground.short(&edit.path).len()).max().unwrap_or_default();
        for edit in &self.edits {
            let what = edit.purposes.join(", ");
            let line = format!("  {:<8} {:<width$}  {what}", action(edit), ground.short(&edit.path));
            output::print(output::printable_lines(line.trim_end()))?;
        }
        if self.edits.is_empty() {
            output::print(match (&self.kind, self.unchanged.is_empty()) {
                (Kind::SetUp(_), _) => "  Nothing to change: it is all there.",
                (Kind::Undo, true) => "Nothing was set up here, so there is nothing to take back.",
                (Kind::Undo, false) => "Nothing to change: somebody has taken it back.",
            })?;
        }
        Ok(())
    }

    fn show_diffs(&self, ground: &Ground) -> anyhow::Result<()> {
        for edit in &self.edits {
            let name = ground.short(&edit.path);
            let diff =
                unified(&format!("a/{name}"), &format!("b/{name}"), edit.before.as_deref(), edit.after.as_deref());
            output::print(output::printable_lines(diff.replace('\r', "").trim_end()))?;
        }
        Ok(())
    }

    /// What others did to our files since.
    fn show_changed(&self, ground: &Ground) -> anyhow::Result<()> {
        for Changed { path, ours, theirs } in &self.changed {
            let name = ground.short(path);
            let Some(theirs) = theirs else {
                output::print(format_args!("\n{name} was deleted since it was set up, and stays deleted."))?;
                continue;
            };
            let is_left = self.problems.iter().any(|problem| problem.path == *path);
            let done = if is_left { "it is left as it is" } else { "only what is ours was taken out" };
            output::print(format_args!("\n{name} was changed since it was set up; {done}. The change was:"))?;
            let diff = unified("as it was set up", "as it was found", Some(ours), Some(theirs));
            output::print(output::printable_lines(diff.replace('\r', "").trim_end()))?;
        }
        Ok(())
    }

    fn show_end(&self) -> anyhow::Result<()> {
        match &self.kind {
            Kind::SetUp(_) if self.is_dry && self.edits.is_empty() => output::print("Nothing would change.")?,
            Kind::SetUp(_) if self.is_dry => output::tell("Nothing was changed; run it without --dry-run to do this."),
            Kind::SetUp(_) => output::print(
                "\nStart your agents anew. `coordinator doctor` checks it all, `coordinator init --undo` takes it back.",
            )?,
            Kind::Undo if self.is_dry => output::tell("Nothing was changed; run it without --dry-run to do this."),
            Kind::Undo => {}
        }
        Ok(())
    }

    fn view(&self, ground: &Ground) -> Value {
        let file = |edit: &Edit| {
            let mut file = json!({"path": edit.path, "action": action(edit), "purposes": edit.purposes});
            if self.is_dry {
                let name = ground.short(&edit.path);
                file["diff"] = unified(&name, &name, edit.before.as_deref(), edit.after.as_deref()).into();
            }
            file
        };
        let problem = |problem: &Problem| json!({"path": problem.path, "message": problem.message});
        let changed = |changed: &Changed| {
            let diff = unified("set up", "found", Some(&changed.ours), changed.theirs.as_deref());
            json!({"path": changed.path, "diff": diff})
        };
        let agents: Vec<&str> = match &self.kind {
            Kind::SetUp(agents) => agents.iter().map(|agent| agent.name()).collect(),
            Kind::Undo => vec![],
        };
        json!({
            "success": !self.has_problems(),
            "dry_run": self.is_dry,
            "agents": agents,
            "files": self.edits.iter().map(file).collect::<Vec<_>>(),
            "unchanged": self.unchanged,
            "changed_since": self.changed.iter().map(changed).collect::<Vec<_>>(),
            "problems": self.problems.iter().map(problem).collect::<Vec<_>>(),
            "steps": self.steps,
        })
    }
}

fn heading(agents: &BTreeSet<Agent>) -> String {
    let names: Vec<&str> = agents.iter().map(|agent| agent.title()).collect();
    match names.split_last() {
        None => "No agent is installed here; --agents claude,codex,gemini sets them up all the same.".to_owned(),
        Some((last, [])) => output::tinted(&format!("Setting up {last}"), Tint::Bold),
        Some((last, others)) => output::tinted(&format!("Setting up {} and {last}", others.join(", ")), Tint::Bold),
    }
}

fn action(edit: &Edit) -> &'static str {
    match (&edit.before, &edit.after) {
        (None, _) => "create",
        (_, None) => "remove",
        _ => "change",
    }
}
