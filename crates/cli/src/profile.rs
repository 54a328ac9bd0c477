//! `coordinator profile`: how far agents are trusted, and how much they may do.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, shown, some, text};
use crate::files::input;
use crate::output::{self, Stream, Table};

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub enum Profile {
    /// List profiles, and who has been given which
    List,
    /// Show one, as it is written
    Show {
        /// Its name
        name: String,
    },
    /// Show what an agent may do
    Of {
        /// The agent
        #[arg(long, value_name = "ID")]
        agent: Option<String>,
        /// Its type, such as codex_cloud_worker
        #[arg(long = "type", value_name = "TYPE")]
        agent_type: Option<String>,
    },
    /// Give an agent, or all of a type, a profile
    Assign {
        /// agent:NAME or type:NAME
        to: String,
        /// The profile; without it, what was given is taken away
        profile: Option<String>,
    },
    /// Make a profile, or change it: by a file in TOML, or by its numbers
    Edit(Edit),
    /// Take a profile away; one of those from the start is again as it was
    Remove {
        /// Its name
        name: String,
    },
}

/// What a profile is to be.
#[derive(Debug, clap::Args)]
pub struct Edit {
    /// Its name
    name: String,
    /// What it is to say, in TOML; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["trust", "files", "calls", "minutes"])]
    file: Option<PathBuf>,
    /// Level of trust, 0 to 4
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=4))]
    trust: Option<u8>,
    /// Distinct files to be locked in a session
    #[arg(long = "max-files", value_name = "N")]
    files: Option<u32>,
    /// Calls in an hour that change something
    #[arg(long = "max-calls", value_name = "N")]
    calls: Option<u32>,
    /// Minutes for which a task may be kept
    #[arg(long = "max-minutes", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    minutes: Option<u32>,
}

/// Does it.
pub async fn run(desk: &Desk, profile: Profile) -> anyhow::Result<Exit> {
    match profile {
        Profile::List => list(desk).await,
        Profile::Show { name } => show(desk, &name).await,
        Profile::Of { agent, agent_type } => of(desk, agent, agent_type).await,
        Profile::Assign { to, profile } => {
            let answer = desk.ask("assign_profile", json!({"to": to, "profile": profile})).await?;
            desk.answer(&answer, |_| {
                let said = match profile {
                    Some(profile) => format!("{to} has profile {profile} now"),
                    None => format!("{to} has the usual profile again"),
                };
                Ok(output::print(output::printable(&said))?)
            })
        }
        Profile::Edit(edit) => self::edit(desk, edit).await,
        Profile::Remove { name } => {
            let answer = desk.ask("put_profile", json!({"name": name})).await?;
            desk.answer(&answer, |_| Ok(output::print(format_args!("removed {}", output::printable(&name)))?))
        }
    }
}

async fn list(desk: &Desk) -> anyhow::Result<Exit> {
    let answer = desk.ask("list_profiles", json!({})).await?;
    desk.answer(&answer, |answer| {
        let mut table = Table::new(Stream::Out, &["PROFILE", "TRUST", "FILES", "CALLS/H", "MINUTES", "FOR"]);
        for profile in items(answer, "profiles") {
            let limit = |field| if profile[field].is_null() { "any".into() } else { shown(profile, field) };
            table.row([
                text(profile, "name").to_owned(),
                shown(profile, "trust_level"),
                limit("max_file_modifications"),
                limit("max_calls_per_hour"),
                limit("max_minutes_per_task"),
                text(profile, "description").to_owned(),
            ]);
        }
        table.write()?;
        let given = items(answer, "assignments");
        if given.is_empty() {
            return Ok(());
        }
        output::print("")?;
        let mut table = Table::new(Stream::Out, &["TO", "PROFILE"]);
        for assignment in given {
            table.row([text(assignment, "to").to_owned(), text(assignment, "profile").to_owned()]);
        }
        Ok(table.write()?)
    })
}

/// The one profile of this name.
async fn find(desk: &Desk, name: &str) -> Result<Option<Value>, Trouble> {
    let answer = desk.ask("list_profiles", json!({"name": name})).await?;
    Ok(items(&answer, "profiles").first().cloned())
}

async fn show(desk: &Desk, name: &str) -> anyhow::Result<Exit> {
    let Some(profile) = find(desk, name).await? else {
        let message = format!("there is no profile {name}: see `coordinator profile list`");
        return Err(Trouble::new(Exit::Refused, "profile_not_found", message).into());
    };
    desk.answer(&profile, |profile| Ok(output::print(output::printable_lines(text(profile, "body").trim_end()))?))
}

async fn of(desk: &Desk, agent: Option<String>, agent_type: Option<String>) -> anyhow::Result<Exit> {
    let mut caller = desk.caller.clone();
    if let Some(agent) = agent {
        caller.agent_id = model::id::AgentId::new(agent).map_err(|error| Trouble::usage(error.to_string()))?;
    }
    caller.agent_type = agent_type.unwrap_or(caller.agent_type);
    let answer = desk.ask_as(&caller, "get_my_profile", json!({})).await?;
    desk.answer(&answer, |answer| {
        let profile = &answer["profile"];
        output::print(format_args!("profile  {} ({})", text(profile, "name"), text(answer, "reason")))?;
        output::print(format_args!("trust    {}", shown(profile, "trust_level")))?;
        for limit in ["max_file_modifications", "max_calls_per_hour", "max_minutes_per_task"] {
            if !profile[limit].is_null() {
                output::print(format_args!("limit    {limit} {}", shown(profile, limit)))?;
            }
        }
        let names: Vec<&str> = items(profile, "allowed_operations").iter().filter_map(Value::as_str).collect();
        Ok(output::print(format_args!("may call {}", names.join(" ")))?)
    })
}

async fn edit(desk: &Desk, edit: Edit) -> anyhow::Result<Exit> {
    let known = find(desk, &edit.name).await?;
    let body = match &edit.file {
        Some(file) => input(file)?,
        None => changed(&edit, known.as_ref())?,
    };
    let seen = known.as_ref().map_or(json!(0), |profile| profile["version"].clone());
    let answer = desk.ask("put_profile", json!({"name": edit.name, "body": body, "expected_version": seen})).await?;
    desk.answer(&answer, |answer| {
        Ok(output::print(format_args!("{} is at version {}", text(answer, "name"), shown(answer, "version")))?)
    })
}

/// The text of the profile with other numbers in it. Comments in it are lost.
fn changed(edit: &Edit, known: Option<&Value>) -> Result<String, Trouble> {
    let text = known.and_then(|profile| some(profile, "body")).unwrap_or_default();
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| Trouble::usage(error.to_string()))?;
    let numbers = [
        ("trust_level", edit.trust.map(u32::from)),
        ("max_file_modifications", edit.files),
        ("max_calls_per_hour", edit.calls),
        ("max_minutes_per_task", edit.minutes),
    ];
    if numbers.iter().all(|(_, number)| number.is_none()) {
        return Err(Trouble::usage("say what to change: --file, --trust, --max-files, --max-calls or --max-minutes"));
    }
    for (name, number) in numbers {
        if let Some(number) = number {
            table.insert(name.into(), i64::from(number).into());
        }
    }
    Ok(table.to_string())
}
