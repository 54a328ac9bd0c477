//! `coordinator call`: any operation, with JSON in and JSON out.

use std::io::Read;

use coordinator::registry;
use serde_json::{Value, json};

use crate::arguments::Globals;
use crate::desk::at_desk;
use crate::exit::{Exit, Trouble};
use crate::output::{self, Stream, Table};

/// What to call.
#[derive(Debug, clap::Args)]
pub struct Call {
    /// The operation; without it, all are listed
    name: Option<String>,
    /// Its request; - reads it from standard input
    #[arg(value_name = "JSON", default_value = "{}")]
    request: String,
    /// Show what its request may hold, as a JSON schema, and call nothing
    #[arg(long, requires = "name")]
    schema: bool,
}

/// Calls it.
pub fn run(globals: &Globals, call: Call) -> anyhow::Result<Exit> {
    let Some(name) = &call.name else { return list(globals) };
    let entry = registry::find(name).ok_or_else(|| {
        let message = format!("there is no operation {name:?}; `coordinator call` lists them all");
        Trouble::new(Exit::Usage, "unknown_operation", message)
    })?;
    if call.schema {
        output::json(entry.request_schema())?;
        return Ok(Exit::Done);
    }
    let request = request(&call.request)?;
    at_desk(globals, async |desk| match desk.call(entry, request).await {
        Ok(answer) => {
            output::json(&answer)?;
            Ok(if answer["success"] == false { Exit::Refused } else { Exit::Done })
        }
        Err(failure) if globals.json => Err(Trouble::from(failure).into()),
        Err(failure) => {
            output::json(&failure.body())?;
            Err(Trouble::from(failure).into())
        }
    })
}

fn request(text: &str) -> anyhow::Result<Value> {
    let mut input = String::new();
    let text = match text {
        "-" => {
            std::io::stdin().read_to_string(&mut input).map_err(|e| Trouble::usage(format!("standard input: {e}")))?;
            input.as_str()
        }
        text => text,
    };
    Ok(serde_json::from_str(text).map_err(|error| Trouble::usage(format!("the request is not JSON: {error}")))?)
}

fn list(globals: &Globals) -> anyhow::Result<Exit> {
    let entries = registry::operations();
    if globals.json {
        let all: Vec<Value> =
            entries.iter().map(|entry| json!({"name": entry.name, "summary": entry.summary})).collect();
        output::json(&Value::Array(all))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::headless(Stream::Out);
    for entry in entries {
        table.row([entry.name.to_owned(), entry.summary.to_owned()]);
    }
    table.write()?;
    Ok(Exit::Done)
}
