//! `coordinator github`: agents coordinated by what happens in the repository on GitHub, by polling it.

use std::time::Duration;

use clap::Subcommand;
use coordinator::github::sync::Interrupted;
use github::{Client, Error, Patience};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::fields::{items, text};
use crate::output::{self, Stream, Table};

/// What to do about GitHub.
#[derive(Debug, Subcommand)]
pub enum Github {
    /// Read what has changed there, and do what follows: locks, tasks, the merge queue
    Sync {
        /// Go on until interrupted
        #[arg(long)]
        watch: bool,
        /// How often to look, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "watch", value_parser = clap::value_parser!(u64).range(5..=3600))]
        every: u64,
    },
    /// Show what is known of issues, pull requests and branches that want something, and what was refused
    Status,
}

/// Does it.
pub async fn run(desk: &Desk, github: Github) -> anyhow::Result<Exit> {
    match github {
        Github::Sync { watch, every } => {
            let client = client(desk)?;
            match watch {
                false => once(desk, &client).await,
                true => on_and_on(desk, &client, Duration::from_secs(every)).await,
            }
        }
        Github::Status => status(desk).await,
    }
}

fn client(desk: &Desk) -> Result<Client, Trouble> {
    let connection = desk.coordinator.settings().github.connection();
    let connection = connection.map_err(|why| Trouble::new(Exit::Usage, "github_not_set_up", why))?;
    Client::new(&connection, Patience::default())
        .map_err(|error| Trouble::new(Exit::Usage, "github_not_set_up", error.to_string()))
}

async fn once(desk: &Desk, client: &Client) -> anyhow::Result<Exit> {
    let synced = desk.coordinator.sync_github(client).await.map_err(in_words)?;
    let mut answer = serde_json::to_value(&synced)?;
    answer["success"] = true.into();
    desk.answer(&answer, show)
}

/// A limit or an outage of GitHub's does not end it: it goes on when that has passed.
async fn on_and_on(desk: &Desk, client: &Client, every: Duration) -> anyhow::Result<Exit> {
    if !desk.json {
        output::tell(format_args!("Following {} on GitHub; Ctrl-C ends it.", client.repository()));
    }
    loop {
        let mut pause = every;
        match desk.coordinator.sync_github(client).await {
            Ok(synced) if synced.news.is_empty() => {}
            Ok(synced) => {
                let mut answer = serde_json::to_value(&synced)?;
                answer["success"] = true.into();
                match desk.json {
                    true => output::print(&answer)?,
                    false => show(&answer)?,
                }
            }
            Err(Interrupted::Github(error @ (Error::RateLimited { .. } | Error::Unreachable(_)))) => {
                if let Error::RateLimited { until } = error {
                    let wait = until.duration_since(jiff::Timestamp::now());
                    pause = pause.max(Duration::try_from(wait).unwrap_or_default());
                }
                output::complain(&error);
            }
            Err(interrupted) => return Err(in_words(interrupted).into()),
        }
        tokio::time::sleep(pause).await;
    }
}

fn in_words(interrupted: Interrupted) -> Trouble {
    match interrupted {
        Interrupted::Failure(failure) => failure.into(),
        Interrupted::Github(error) => {
            let (exit, code) = match error {
                Error::RateLimited { .. } => (Exit::Unreachable, "github_rate_limited"),
                Error::Unreachable(_) => (Exit::Unreachable, "github_unreachable"),
                Error::Refused { .. } | Error::Setup(_) => (Exit::Usage, "github_refused"),
                Error::Unreadable { .. } => (Exit::Unreachable, "github_unreadable"),
            };
            Trouble::new(exit, code, error.to_string())
        }
    }
}

fn show(answer: &Value) -> anyhow::Result<()> {
    let news: Vec<&str> = items(answer, "news").iter().filter_map(Value::as_str).collect();
    let (issues, branches) = (&answer["issues"], &answer["branches"]);
    let new = if news.is_empty() { "nothing new".to_owned() } else { format!("new: {}", news.join(", ")) };
    let line = format!("{issues} issues and pull requests and {branches} branches read; {new}");
    Ok(output::print(output::printable(&line))?)
}

async fn status(desk: &Desk) -> anyhow::Result<Exit> {
    let subjects = desk.coordinator.github_subjects().await.map_err(Trouble::from)?;
    let live = subjects
        .into_iter()
        .filter(|view| view.subject.known.is_live() || !view.subject.refused.is_empty() || !view.subject.settled);
    let live: Vec<_> = live.collect();
    let answer = json!({"success": true, "subjects": live});
    desk.answer(&answer, |answer| {
        let subjects = items(answer, "subjects");
        if subjects.is_empty() {
            return Ok(output::print("Nothing on GitHub wants anything of us.")?);
        }
        let mut table = Table::new(Stream::Out, &["KIND", "NAME", "STATE", "REFUSED"]);
        for subject in subjects {
            let refused: Vec<&str> = subject["refused"]
                .as_object()
                .into_iter()
                .flat_map(|refused| refused.values())
                .map(|why| text(why, "message"))
                .collect();
            let state = if subject["settled"] == true { "settled" } else { "to be done" };
            table.row([
                text(subject, "kind").to_owned(),
                output::printable(text(subject, "name")),
                state.to_owned(),
                output::printable(&refused.join("; ")),
            ]);
        }
        Ok(table.write()?)
    })
}
