//! The rulebook, in SQLite.

use model::id::Project;
use model::rulebook::{Rule, RuleKind};
use rusqlite::{Connection, Row, named_params};

use super::read::all;
use super::records::{instant, word};

pub const RULE: &str = "kind, name, body, version, author, created_at";

pub fn rule(row: &Row<'_>) -> rusqlite::Result<Rule> {
    Ok(Rule {
        kind: word(row, 0)?,
        name: row.get(1)?,
        body: row.get(2)?,
        version: row.get(3)?,
        author: word(row, 4)?,
        created_at: instant(row, 5)?,
    })
}

/// The latest version of each that was not removed.
pub fn rules(connection: &Connection, project: &Project) -> rusqlite::Result<Vec<Rule>> {
    let sql = format!(
        "select {RULE} from rules where project = :project and body is not null and version in (
             select max(latest.version) from rules as latest where latest.project = :project
             group by latest.kind, latest.name)
         order by kind, name"
    );
    all(connection, &sql, named_params! { ":project": project.as_str() }, rule)
}

pub fn version(connection: &Connection, project: &Project) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("select coalesce(max(version), 0) from rules where project = :project")?
        .query_row(named_params! { ":project": project.as_str() }, |row| row.get(0))
}

/// The versions of one rule, newest first.
pub fn history(
    connection: &Connection,
    project: &Project,
    kind: RuleKind,
    name: &str,
    limit: u32,
) -> rusqlite::Result<Vec<Rule>> {
    let sql = format!(
        "select {RULE} from rules where project = :project and kind = :kind and name = :name
         order by version desc limit :limit"
    );
    let params = named_params! { ":project": project.as_str(), ":kind": kind.as_str(), ":name": name, ":limit": limit };
    all(connection, &sql, params, rule)
}
