//! `coordinator keys`: the keys that open the HTTP server for this project.

use clap::Subcommand;
use coordinator::keys::NewKey;
use jiff::Timestamp;
use model::api_keys::ApiKey;
use model::id::{AgentId, NAME_LIMIT};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::exit::{Exit, Trouble};
use crate::output::{self, Stream, Table};
use crate::time;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key, which is shown once
    Create(Create),
    /// List keys, revoked and expired ones too
    List,
    /// Make a key useless; servers notice at once
    Revoke {
        /// Its id, as `keys list` shows it
        id: String,
    },
}

/// The key to make.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// What it is for
    #[arg(long, value_parser = named)]
    name: String,
    /// The only agent that may use it
    #[arg(long, value_name = "ID", value_parser = |text: &str| AgentId::new(text))]
    agent_id: Option<AgentId>,
    /// The type of agent that may use it, such as codex_cloud_worker
    #[arg(long, value_name = "TYPE", value_parser = named)]
    agent_type: Option<String>,
    /// What it may be used for: read, a group such as locks or work, or an operation (default: everything)
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// Requests a minute that each server takes from it (default: any number)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    per_minute: Option<u32>,
    /// Days until it ends (default: never)
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in_days: Option<u32>,
}

fn named(text: &str) -> Result<String, String> {
    AgentId::new(text)
        .map(String::from)
        .map_err(|_| format!("must be 1 to {NAME_LIMIT} bytes without control characters, and not blank"))
}

/// Does it.
pub async fn run(desk: &Desk, keys: Keys) -> anyhow::Result<Exit> {
    match keys {
        Keys::Create(create) => self::create(desk, create).await,
        Keys::List => list(desk).await,
        Keys::Revoke { id } => revoke(desk, &id).await,
    }
}

async fn create(desk: &Desk, create: Create) -> anyhow::Result<Exit> {
    let new = NewKey {
        name: create.name,
        agent_id: create.agent_id,
        agent_type: create.agent_type,
        scopes: create.scopes,
        per_minute: create.per_minute,
        expires_in_days: create.expires_in_days,
    };
    let made = desk.coordinator.create_key(desk.project(), &desk.caller, new).await;
    let (secret, key) = made.map_err(Trouble::from)?;
    let mut answer = view(&key, Timestamp::now());
    answer["success"] = true.into();
    answer["key"] = secret.clone().into();
    desk.answer(&answer, |_| {
        // Alone on standard output, so that it can be piped to where it is kept.
        output::print(&secret)?;
        output::tell(format_args!(
            "Keep it now: it is not shown again. It opens project {}. To revoke it: coordinator keys revoke {}",
            key.project, key.id
        ));
        Ok(())
    })
}

async fn list(desk: &Desk) -> anyhow::Result<Exit> {
    let keys = desk.coordinator.keys(desk.project()).await.map_err(Trouble::from)?;
    let now = Timestamp::now();
    let answer = json!({"keys": keys.iter().map(|key| view(key, now)).collect::<Vec<_>>()});
    desk.answer(&answer, |_| {
        if keys.is_empty() {
            output::print("There are no keys. To make one: coordinator keys create --name me")?;
            return Ok(());
        }
        let mut table =
            Table::new(Stream::Out, &["ID", "NAME", "STATUS", "AGENT", "TYPE", "FOR", "A MINUTE", "USED", "ENDS"]);
        for key in &keys {
            table.row([
                key.id.to_string(),
                key.name.clone(),
                status(key, now).to_owned(),
                key.agent_id.as_ref().map(ToString::to_string).unwrap_or_else(|| "any".into()),
                key.agent_type.clone().unwrap_or_else(|| "any".into()),
                if key.scopes.is_empty() { "everything".into() } else { key.scopes.join(", ") },
                key.per_minute.map_or_else(|| "any".into(), |limit| limit.to_string()),
                key.last_used_at.map_or_else(|| "never".into(), |at| time::relative(at, now)),
                key.expires_at.map_or_else(|| "never".into(), |end| time::relative(end, now)),
            ]);
        }
        Ok(table.write()?)
    })
}

async fn revoke(desk: &Desk, id: &str) -> anyhow::Result<Exit> {
    let keys = desk.coordinator.keys(desk.project()).await.map_err(Trouble::from)?;
    let Some(key) = keys.iter().find(|key| key.id.to_string() == id) else {
        let message = format!("there is no key {id} in project {}: see `coordinator keys list`", desk.project());
        return Err(Trouble::new(Exit::Refused, "key_not_found", message).into());
    };
    desk.coordinator.revoke_key(desk.project(), &desk.caller, key.id).await.map_err(Trouble::from)?;
    let answer = json!({"success": true, "id": key.id.to_string(), "name": key.name});
    desk.answer(&answer, |_| Ok(output::print(format_args!("revoked {} ({})", key.id, output::printable(&key.name)))?))
}

/// A key as shown: without its hash.
fn view(key: &ApiKey, now: Timestamp) -> Value {
    json!({
        "id": key.id.to_string(),
        "name": key.name,
        "project": key.project,
        "agent_id": key.agent_id,
        "agent_type": key.agent_type,
        "scopes": key.scopes,
        "per_minute": key.per_minute,
        "last_used_at": key.last_used_at,
        "status": status(key, now),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    })
}

fn status(key: &ApiKey, now: Timestamp) -> &'static str {
    match (key.revoked_at, key.is_live(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "live",
        (None, false) => "expired",
    }
}
