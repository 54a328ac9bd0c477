//! `coordinator migrate`: brings the database's schema up to date, or prints the SQL for somebody else to do it.

use coordinator::settings::{Database, Settings};
use serde_json::json;
use store::postgres::PostgresStore;

use crate::arguments::Globals;
use crate::desk::{block_on, open};
use crate::exit::{Exit, Trouble};
use crate::{logs, output};

/// How.
#[derive(Debug, clap::Args)]
pub struct Migrate {
    /// Print the SQL for PostgreSQL instead of running it; it may be run on any version, and again
    #[arg(long)]
    print: bool,
}

/// Does it.
pub fn run(globals: &Globals, migrate: Migrate) -> anyhow::Result<Exit> {
    logs::start();
    if migrate.print {
        let sql = PostgresStore::migration_script();
        if globals.json {
            output::json(&json!({"sql": sql}))?;
        } else {
            output::print(sql)?;
        }
        return Ok(Exit::Done);
    }
    let settings = settings(globals)?;
    let database = settings.database.describe();
    block_on(open_once(settings))?;
    if globals.json {
        output::json(&json!({"success": true, "database": database}))?;
    } else {
        output::print(format_args!("The schema is up to date: {database}"))?;
    }
    Ok(Exit::Done)
}

/// Whoever opens a database brings it up to date.
async fn open_once(settings: Settings) -> anyhow::Result<()> {
    open(settings).await?;
    Ok(())
}

/// The settings, but with the way to the database that can change a schema.
fn settings(globals: &Globals) -> Result<Settings, Trouble> {
    let settings = globals.settings()?;
    if !matches!(settings.database, Database::Supabase(_)) {
        return Ok(settings);
    }
    globals.settings_with(&[("DB_BACKEND", Some("postgres".into()))]).map_err(|_| {
        Trouble::usage(
            "PostgREST cannot change a schema: name the database's own connection string (--db postgres://..., or \
             POSTGRES_DSN), or paste what `coordinator migrate --print` prints into an SQL editor",
        )
    })
}
