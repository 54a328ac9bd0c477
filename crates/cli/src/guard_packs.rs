//! `coordinator guard packs`: which packs of rules hold in the project. A change is in force at once, and in every server
//! within 2 s.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::output::{self, Stream, Table};

/// What to do with packs.
#[derive(Debug, Subcommand)]
pub enum Packs {
    /// List the packs in force, and those that are switched off
    List,
    /// Add a pack of your own, or replace the one of its name
    Add {
        /// TOML, as docs/guardrails.md tells
        file: PathBuf,
    },
    /// Remove a pack of your own
    Remove {
        /// Its name
        name: String,
    },
    /// Switch a pack off that comes with the program
    Disable {
        /// Its name
        name: String,
    },
    /// Switch it on again
    Enable {
        /// Its name
        name: String,
    },
}

/// Does it.
pub async fn run(desk: &Desk, packs: Packs) -> anyhow::Result<Exit> {
    let (request, done) = match packs {
        Packs::List => return list(desk).await,
        Packs::Add { file } => {
            let cannot = |why: &dyn std::fmt::Display| {
                Trouble::usage(format!("the pack {} cannot be read: {why}", file.display()))
            };
            let text = std::fs::read_to_string(&file).map_err(|error| cannot(&error))?;
            let pack = guardrails::pack_name(&text).map_err(|bad| cannot(&bad))?;
            (json!({"name": pack, "pack": text}), "in force")
        }
        Packs::Remove { name } => (json!({"name": name}), "removed"),
        Packs::Disable { name } => (json!({"name": name, "disable": true}), "off"),
        Packs::Enable { name } => (json!({"name": name}), "on"),
    };
    let answer = desk.ask("put_guardrails", request).await?;
    desk.answer(&answer, |answer| {
        let name = output::printable(answer["name"].as_str().unwrap_or_default());
        Ok(output::print(format_args!("pack {name} is {done} (version {})", answer["version"]))?)
    })
}

async fn list(desk: &Desk) -> anyhow::Result<Exit> {
    let answer = desk.ask("list_guardrails", json!({})).await?;
    desk.answer(&answer, |answer| {
        let mut packs: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for rule in rows(&answer["patterns"]) {
            let text = |field: &str| rule[field].as_str().unwrap_or_default();
            packs.entry(text("pack")).or_insert((0, text("category"))).0 += 1;
        }
        let mut table = Table::new(Stream::Out, &["PACK", "RULES", "ABOUT"]);
        for (name, (count, category)) in packs {
            table.row([output::printable(name), count.to_string(), output::printable(category)]);
        }
        for name in rows(&answer["disabled"]) {
            table.row([output::printable(name.as_str().unwrap_or_default()), "off".into(), String::new()]);
        }
        Ok(table.write()?)
    })
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
