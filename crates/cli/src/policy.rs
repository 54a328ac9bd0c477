//! `coordinator policy`: what is permitted, in Cedar: asked, checked, changed and tried out.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, shown, some, text, when};
use crate::files::input;
use crate::output::{self, Stream, Table};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Say whether something may be done
    Check(Question),
    /// Say which policies decide, and why
    Explain(Question),
    /// Check the text of policies; every mistake is told as FILE:LINE:COLUMN: what is wrong
    Validate {
        /// The file; - for standard input
        file: PathBuf,
    },
    /// Put policies in force, under the name of their file
    Put {
        /// The file; - for standard input
        file: PathBuf,
        /// Another name; `default` takes the place of the policies from the start
        #[arg(long)]
        name: Option<String>,
        /// Only if this is still the latest version; 0 for none
        #[arg(long, value_name = "VERSION")]
        expected: Option<i64>,
    },
    /// Take policies out of force
    Remove {
        /// Their name
        name: String,
    },
    /// List the policies in force
    List,
    /// Print policies
    Show {
        /// Their name
        name: String,
    },
    /// Print the schema that policies keep to
    Schema,
    /// List what was in force before
    History {
        /// Their name
        name: String,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Put an older version in force again
    Rollback {
        /// Their name
        name: String,
        /// The version, as `policy history` shows it
        #[arg(id = "rule-version", value_name = "VERSION")]
        version: i64,
    },
    /// Say which of the last audited calls a draft would have decided otherwise
    Replay {
        /// The file of the draft; - for standard input
        file: PathBuf,
        /// Whose place it would take (default: that of its file's name)
        #[arg(long)]
        name: Option<String>,
        /// How many calls
        #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
}

/// What is to be done, and by whom.
#[derive(Debug, clap::Args)]
pub struct Question {
    /// The operation, such as acquire_lock
    operation: String,
    /// What with: a path, a task's id
    resource: Option<String>,
    /// By this agent (default: you)
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// By an agent of this type
    #[arg(long = "type", value_name = "TYPE")]
    agent_type: Option<String>,
    /// By this way in
    #[arg(long, value_parser = ["mcp", "http", "cli"])]
    door: Option<String>,
}

/// Does it.
pub async fn run(desk: &Desk, policy: Policy) -> anyhow::Result<Exit> {
    match policy {
        Policy::Check(question) => check(desk, question, verdict).await,
        Policy::Explain(question) => check(desk, question, explained).await,
        Policy::Validate { file } => validate(desk, &file).await,
        Policy::Put { file, name, expected } => {
            let request = json!({
                "name": name.unwrap_or_else(|| named_after(&file)),
                "policy_text": input(&file)?,
                "expected_version": expected,
            });
            put(desk, "put_policy", request).await
        }
        Policy::Remove { name } => put(desk, "put_policy", json!({"name": name})).await,
        Policy::List => list(desk).await,
        Policy::Show { name } => show(desk, &name).await,
        Policy::Schema => {
            let answer = desk.ask("list_policies", json!({})).await?;
            desk.answer(&answer, |answer| Ok(output::print(text(answer, "schema").trim_end())?))
        }
        Policy::History { name, limit } => history(desk, &name, limit).await,
        Policy::Rollback { name, version } => {
            put(desk, "roll_back_rule", json!({"kind": "policy", "name": name, "version": version})).await
        }
        Policy::Replay { file, name, limit } => {
            let name = name.unwrap_or_else(|| named_after(&file));
            let request = json!({"name": name, "policy_text": input(&file)?, "limit": limit});
            replay(desk, request).await
        }
    }
}

/// Policies are called as their file, without its ending.
fn named_after(file: &Path) -> String {
    file.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

async fn check(
    desk: &Desk,
    question: Question,
    show: impl FnOnce(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let told = [("agent_id", question.agent), ("agent_type", question.agent_type), ("door", question.door)];
    let context: Map<String, Value> =
        told.into_iter().filter_map(|(field, value)| Some((field.to_owned(), json!(value?)))).collect();
    let request = json!({"operation": question.operation, "resource": question.resource, "context": context});
    let answer = desk.ask("check_policy", request).await?;
    let exit = desk.answer(&answer, show)?;
    Ok(if answer["allowed"] == true { exit } else { Exit::Refused })
}

fn verdict(answer: &Value) -> anyhow::Result<()> {
    let word = if answer["allowed"] == true { "allowed" } else { "refused" };
    Ok(output::print(output::printable(&format!("{word}: {}", text(answer, "reason"))))?)
}

fn explained(answer: &Value) -> anyhow::Result<()> {
    verdict(answer)?;
    let diagnostics = &answer["diagnostics"];
    output::print(format_args!("engine   {}", text(answer, "engine")))?;
    let (profile, trust) = (text(diagnostics, "profile"), shown(diagnostics, "trust_level"));
    output::print(output::printable(&format!("profile  {profile}, trust level {trust}")))?;
    if !diagnostics["required_level"].is_null() {
        output::print(format_args!("needs    trust level {}", shown(diagnostics, "required_level")))?;
    }
    for policy in items(diagnostics, "policies") {
        output::print(format_args!("\npolicy   {}", output::printable(text(policy, "id"))))?;
        output::print(output::printable_lines(text(policy, "text").trim()))?;
    }
    Ok(())
}

async fn validate(desk: &Desk, file: &Path) -> anyhow::Result<Exit> {
    let answer = desk.ask("validate_cedar_policy", json!({"policy_text": input(file)?})).await?;
    let is_valid = answer["valid"] == true;
    desk.answer(&answer, |answer| {
        if is_valid {
            output::print(format_args!("{} is valid", file.display()))?;
        }
        for error in items(answer, "errors") {
            let help = some(error, "help").map(|help| format!(" ({help})")).unwrap_or_default();
            let (line, column, message) = (&error["line"], &error["column"], text(error, "message"));
            output::tell(output::printable(&format!("{}:{line}:{column}: {message}{help}", file.display())));
        }
        Ok(())
    })?;
    Ok(if is_valid { Exit::Done } else { Exit::Usage })
}

async fn put(desk: &Desk, operation: &str, request: Value) -> anyhow::Result<Exit> {
    let answer = desk.ask(operation, request).await?;
    desk.answer(&answer, |answer| {
        let said = format!("{} is at version {}", text(answer, "name"), shown(answer, "version"));
        output::print(output::printable(&said))?;
        if let Some(note) = some(answer, "note") {
            output::tell(note);
        }
        Ok(())
    })
}

async fn list(desk: &Desk) -> anyhow::Result<Exit> {
    let answer = desk.ask("list_policies", json!({})).await?;
    desk.answer(&answer, |answer| {
        output::print(format_args!("engine: {}\n", text(answer, "engine")))?;
        let mut table = Table::new(Stream::Out, &["POLICY", "VERSION", "BY", "SINCE"]);
        for policy in items(answer, "policies") {
            let by = some(policy, "author").unwrap_or("the program or a file").to_owned();
            table.row([text(policy, "name").to_owned(), shown(policy, "version"), by, when(policy, "created_at")]);
        }
        table.write()?;
        for problem in items(answer, "problems") {
            output::tell(output::printable(problem.as_str().unwrap_or_default()));
        }
        Ok(())
    })
}

async fn show(desk: &Desk, name: &str) -> anyhow::Result<Exit> {
    let answer = desk.ask("list_policies", json!({})).await?;
    let Some(policy) = items(&answer, "policies").iter().find(|policy| text(policy, "name") == name) else {
        let message = format!("there is no policy {name}: see `coordinator policy list`");
        return Err(Trouble::new(Exit::Refused, "policy_not_found", message).into());
    };
    desk.answer(policy, |policy| Ok(output::print(output::printable_lines(text(policy, "body").trim_end()))?))
}

async fn history(desk: &Desk, name: &str, limit: u32) -> anyhow::Result<Exit> {
    let answer = desk.ask("rule_history", json!({"kind": "policy", "name": name, "limit": limit})).await?;
    desk.answer(&answer, |answer| {
        let mut table = Table::new(Stream::Out, &["VERSION", "BY", "WHEN", "SAYS"]);
        for version in items(answer, "versions") {
            let says = version["body"].as_str().map_or("removed".into(), |body| format!("{} bytes", body.len()));
            let by = text(version, "author").to_owned();
            table.row([shown(version, "version"), by, when(version, "created_at"), says]);
        }
        Ok(table.write()?)
    })
}

async fn replay(desk: &Desk, request: Value) -> anyhow::Result<Exit> {
    let answer = desk.ask("replay_policy", request).await?;
    desk.answer(&answer, |answer| {
        for error in items(answer, "errors") {
            output::tell(output::printable(&format!(
                "{}:{}: {}",
                error["line"],
                error["column"],
                text(error, "message")
            )));
        }
        if answer["success"] == false {
            return Ok(());
        }
        let changed = items(answer, "changed");
        let (examined, count) = (shown(answer, "examined"), changed.len());
        output::print(format_args!("{count} of {examined} calls would have come out differently"))?;
        if changed.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(Stream::Out, &["WHEN", "AGENT", "OPERATION", "WITH", "WOULD BE", "BECAUSE"]);
        for call in changed {
            let word = |field| text(call, field).to_owned();
            let would_be = if call["would_be_allowed"] == true { "allowed" } else { "refused" };
            table.row([
                when(call, "created_at"),
                word("agent_id"),
                word("operation"),
                word("resource"),
                would_be.into(),
                word("reason"),
            ]);
        }
        Ok(table.write()?)
    })
}
