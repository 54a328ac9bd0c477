//! `coordinator network`: which hosts agents may reach; asked, changed, listed, and learnt from this machine's set-up.

mod learn;
mod machine;
mod managers;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::arguments::Globals;
use crate::desk::{Desk, at_desk};
use crate::exit::{Exit, Trouble};
use crate::fields::{items, shown, some, text, when};
use crate::lines;
use crate::output::{self, Stream, Table};

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub enum Network {
    /// Say whether a host may be reached, and why
    Check(Check),
    /// Allow hosts: HOST, *.HOST (below it), **.HOST (with it), *, each perhaps with :PORT
    Allow(Rules),
    /// Deny hosts, whatever else is allowed
    Deny(Rules),
    /// Take rules back, whether they allow or deny
    Remove(Rules),
    /// Say what holds for hosts that no rule names
    Default(Default),
    /// List the rules
    List,
    /// Propose rules for the registries that this machine's package managers are configured with
    Learn(Learn),
}

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// A URL, or a host, perhaps with a port
    #[arg(required_unless_present = "jsonl", conflicts_with = "jsonl")]
    target: Option<String>,
    /// An address that the host has; may be repeated
    #[arg(long, value_name = "ADDRESS", conflicts_with = "jsonl")]
    resolves_to: Vec<std::net::IpAddr>,
    /// Read {"id", "allow", "deny", "default", "url_or_host", "resolves_to"} lines from standard input and answer each
    /// with a line; needs no database
    #[arg(long)]
    jsonl: bool,
}

/// Rules, and whose.
#[derive(Debug, clap::Args)]
pub struct Rules {
    /// The rules
    #[arg(required = true, value_name = "RULE")]
    rules: Vec<String>,
    /// Only for agents with this profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Answer {
    Allow,
    Deny,
}

/// What holds without a rule, and for whom.
#[derive(Debug, clap::Args)]
pub struct Default {
    /// Which
    answer: Answer,
    /// Only for agents with this profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// What to do with what was learnt.
#[derive(Debug, clap::Args)]
pub struct Learn {
    /// Put the proposed rules in force
    #[arg(long)]
    apply: bool,
    /// Only for agents with this profile
    #[arg(long, value_name = "NAME", requires = "apply")]
    profile: Option<String>,
}

/// Does it.
pub fn run(globals: &Globals, network: Network) -> anyhow::Result<Exit> {
    match network {
        // What is no text has no host: the character that replaces it is in none.
        Network::Check(check) if check.jsonl => {
            lines::answer_each(|text, number| Ok(network::line::answer(text, number)))
        }
        Network::Check(check) => at_desk(globals, async |desk| self::check(desk, check).await),
        Network::Allow(Rules { rules, profile }) => change(globals, json!({"allow": rules, "profile": profile})),
        Network::Deny(Rules { rules, profile }) => change(globals, json!({"deny": rules, "profile": profile})),
        Network::Remove(Rules { rules, profile }) => change(globals, json!({"remove": rules, "profile": profile})),
        Network::Default(Default { answer, profile }) => {
            let answer = match answer {
                Answer::Allow => "allow",
                Answer::Deny => "deny",
            };
            change(globals, json!({"default": answer, "profile": profile}))
        }
        Network::List => at_desk(globals, list),
        Network::Learn(learn) => self::learn(globals, learn),
    }
}

async fn check(desk: &Desk, check: Check) -> anyhow::Result<Exit> {
    let mut request = json!({"url": check.target});
    if !check.resolves_to.is_empty() {
        request["resolves_to"] = json!(check.resolves_to);
    }
    let answer = desk.ask("check_network", request).await?;
    desk.answer(&answer, |answer| {
        let (word, tint) = match answer["allowed"] == true {
            true => ("allow", output::Tint::Green),
            false => ("deny", output::Tint::Red),
        };
        let reason = output::printable(text(answer, "reason"));
        Ok(output::print(format_args!("{}: {reason}", output::tinted(word, tint)))?)
    })
}

fn change(globals: &Globals, request: Value) -> anyhow::Result<Exit> {
    at_desk(globals, async |desk| {
        let answer = desk.ask("change_network_rules", request).await?;
        desk.answer(&answer, |answer| {
            let whose =
                some(answer, "profile").map_or_else(|| "everybody".to_owned(), |name| format!("profile {name}"));
            let count = |field| items(answer, field).len();
            let default = some(answer, "default").map(|d| format!(", otherwise {d}")).unwrap_or_default();
            Ok(output::print(format_args!(
                "for {whose}: {} rules allow, {} deny{default} (version {})",
                count("allow"),
                count("deny"),
                answer["version"]
            ))?)
        })
    })
}

async fn list(desk: &Desk) -> anyhow::Result<Exit> {
    let answer = desk.ask("list_network_rules", json!({})).await?;
    desk.answer(&answer, |answer| {
        let mut table = Table::new(Stream::Out, &["FOR", "RULE", "SINCE", "HOST"]);
        for document in items(answer, "rules") {
            let whose = some(document, "profile").unwrap_or("everybody").to_owned();
            for field in ["deny", "allow"] {
                for rule in items(document, field) {
                    let rule = rule.as_str().unwrap_or_default().to_owned();
                    table.row([whose.clone(), field.to_owned(), when(document, "created_at"), rule]);
                }
            }
            if let Some(default) = some(document, "default") {
                let otherwise = format!("(what no rule names) {default}");
                table.row([whose.clone(), "default".to_owned(), when(document, "created_at"), otherwise]);
            }
        }
        table.write()?;
        let default = shown(answer, "default");
        output::tell(format_args!(
            "Deny wins; what is not public must be listed literally; what no rule names: {default}, unless it says otherwise \
             above. Your profile is {}.",
            text(answer, "profile")
        ));
        Ok(())
    })
}

fn learn(globals: &Globals, learn: Learn) -> anyhow::Result<Exit> {
    let directory = std::env::current_dir()
        .map_err(|error| Trouble::usage(format!("the current directory cannot be used: {error}")))?;
    let learnt = learn::learn(&machine::ThisMachine, &directory);
    if globals.json {
        output::json(&learnt.as_json())?;
    } else {
        learnt.show()?;
    }
    let rules = learnt.rules();
    match (rules.is_empty(), learn.apply) {
        (true, _) => Ok(Exit::Refused),
        (false, false) => Ok(Exit::Done),
        (false, true) => at_desk(globals, async |desk| {
            let request = json!({"allow": rules, "profile": learn.profile});
            desk.ask("change_network_rules", request).await?;
            output::tell("These rules are in force now.");
            Ok(Exit::Done)
        }),
    }
}
