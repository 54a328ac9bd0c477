//! The trail as it is hashed: its columns, byte for byte as they are stored, and the seals of what was pruned.

use std::io::Write;

use model::chain::{self, CanonicalRow, ChainedRow, Digest256, Seal};
use model::id::Project;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use uuid::Uuid;

use super::read::all;
use super::records::json_column;

/// In the order of [`chain::COLUMNS`].
const COLUMNS: &str = "project, seq, id, agent_id, agent_type, session_id, operation, parameters, result, duration_ms, \
                       success, error_message, created_at";

/// The rows behind a position, oldest first.
pub fn chain(
    connection: &Connection,
    project: &Project,
    position: i64,
    limit: u32,
) -> rusqlite::Result<Vec<ChainedRow>> {
    let sql = format!(
        "select {COLUMNS}, hash from audit where project = :project and seq > :position order by seq limit :limit"
    );
    let params = named_params! { ":project": project.as_str(), ":position": position, ":limit": limit };
    all(connection, &sql, params, chained)
}

/// A row whose values need not be what we wrote: whoever can write to the file may have put anything there.
fn chained(row: &Row<'_>) -> rusqlite::Result<ChainedRow> {
    let hash = match row.get_ref(chain::COLUMNS.len())? {
        ValueRef::Blob(bytes) => <[u8; 32]>::try_from(bytes).ok().map(Digest256::from),
        _ => None,
    };
    Ok(ChainedRow { seq: row.get(1)?, row: canonical(row)?, hash })
}

fn canonical(row: &Row<'_>) -> rusqlite::Result<CanonicalRow> {
    let mut canonical = CanonicalRow::with_capacity(512);
    for (at, column) in chain::COLUMNS.iter().enumerate() {
        match row.get_ref(at)? {
            ValueRef::Null => canonical.push(None),
            ValueRef::Integer(number) => canonical.push_number(number),
            ValueRef::Text(bytes) => canonical.push(Some(bytes)),
            ValueRef::Blob(bytes) => match Uuid::from_slice(bytes) {
                Ok(id) if *column == "id" => canonical.push_id(id),
                // No row of ours has such a value, and so no row's hash fits it.
                _ => canonical.push(Some(&[b"x'", bytes].concat())),
            },
            ValueRef::Real(number) => {
                let mut text = vec![];
                // Writing to a vector cannot fail.
                let _ = write!(text, "{number:?}");
                canonical.push(Some(&text));
            }
        }
    }
    Ok(canonical)
}

/// The hash of the row at this position.
pub fn hash(connection: &Connection, project: &Project, seq: i64) -> rusqlite::Result<Option<Digest256>> {
    let hash: Option<[u8; 32]> = connection
        .prepare_cached("select hash from audit where project = ? and seq = ?")?
        .query_row(params![project.as_str(), seq], |row| row.get(0))
        .optional()?;
    Ok(hash.map(Digest256::from))
}

/// The last seal.
pub fn seal(connection: &Connection, project: &Project) -> rusqlite::Result<Option<Seal>> {
    let sql =
        "select size, hash, frontier, trail, checkpoint from audit_seals where project = ? order by size desc limit 1";
    let of_row = |row: &Row<'_>| {
        Ok(Seal {
            size: row.get(0)?,
            hash: row.get::<_, [u8; 32]>(1)?.into(),
            frontier: json_column(row, 2)?,
            trail: row.get::<_, [u8; 32]>(3)?.into(),
            checkpoint: row.get(4)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([project.as_str()], of_row).optional()
}

/// Hashes the rows from before there was a chain. The migration has lifted the ban on changing rows, and puts it back here.
pub fn chain_older_rows(connection: &Connection) -> rusqlite::Result<()> {
    let mut rows = connection.prepare(&format!("select {COLUMNS} from audit order by project, seq"))?;
    let mut write = connection.prepare("update audit set hash = ? where project = ? and seq = ?")?;
    let mut read = rows.query([])?;
    let mut last: (Option<String>, Digest256) = (None, Digest256::START);
    // Only the hash is written, which is in no index: the walk through the table is not disturbed by it.
    while let Some(row) = read.next()? {
        let project: String = row.get(0)?;
        let before = if last.0.as_ref() == Some(&project) { last.1 } else { Digest256::START };
        let hash = chain::link(&before, &canonical(row)?);
        write.execute(params![hash.as_bytes(), project, row.get::<_, i64>(1)?])?;
        last = (Some(project), hash);
    }
    connection.execute_batch(
        "create trigger audit_no_update before update on audit begin
             select raise(abort, 'the audit trail is append-only: a row cannot be changed');
         end",
    )
}
