//! What is known of GitHub, in SQLite.

use jiff::Timestamp;
use model::JsonText;
use model::github::{GithubKind, GithubRecord};
use model::id::Project;
use rusqlite::{Connection, Row, named_params};

use super::records::{instant, micros, word};
use super::rows::SqliteRows;
use super::{Result, failure, read};
use crate::engine::GithubRows;

fn record(row: &Row<'_>) -> rusqlite::Result<GithubRecord> {
    Ok(GithubRecord {
        kind: word(row, 0)?,
        name: row.get(1)?,
        revision: row.get(2)?,
        body: JsonText::from_trusted(row.get(3)?),
        updated_at: instant(row, 4)?,
        expires_at: match row.get::<_, Option<i64>>(5)? {
            Some(_) => Some(instant(row, 5)?),
            None => None,
        },
    })
}

/// Those that have not ended, by name.
pub fn records(
    connection: &Connection,
    project: &Project,
    kind: GithubKind,
    name: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<Vec<GithubRecord>> {
    // One by its name is found by the key.
    let of_name = if name.is_some() { "name = :name" } else { ":name is null" };
    let sql = format!(
        "select kind, name, revision, body, updated_at, expires_at from github_records
         where project = :project and kind = :kind and {of_name} and (expires_at is null or expires_at > :now)
         order by name"
    );
    let params = named_params! {
        ":project": project.as_str(), ":kind": kind.as_str(), ":name": name, ":now": micros(now),
    };
    read::all(connection, &sql, params, record)
}

impl GithubRows for SqliteRows<'_> {
    fn github_record(&mut self, kind: GithubKind, name: &str) -> Result<Option<GithubRecord>> {
        // What has ended is gone already.
        let found = records(self.connection, self.project, kind, Some(name), Timestamp::MIN).map_err(failure)?;
        Ok(found.into_iter().next())
    }

    fn put_github_record(&mut self, record: &GithubRecord) -> Result<()> {
        self.execute(
            "insert or replace into github_records (project, kind, name, revision, body, updated_at, expires_at)
             values (:project, :kind, :name, :revision, :body, :updated_at, :expires_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":kind": record.kind.as_str(),
                ":name": record.name,
                ":revision": record.revision,
                ":body": record.body.as_str(),
                ":updated_at": micros(record.updated_at),
                ":expires_at": record.expires_at.map(micros),
            },
        )
    }

    fn drop_github_records_ended(&mut self, now: Timestamp) -> Result<()> {
        self.execute(
            "delete from github_records where project = :project and expires_at is not null and expires_at <= :now",
            named_params! { ":project": self.project.as_str(), ":now": micros(now) },
        )
    }
}
