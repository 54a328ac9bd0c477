//! What is known of GitHub: written only by whoever has seen what was there, so that nobody's news are lost.

use jiff::{Timestamp, ToSpan};
use model::command::{Outcome, Refusal};
use model::github::{GithubKind, GithubRecord, PutGithubRecord};

use super::{Result, Rows, next_position};

/// What the rules of this file ask of a database.
pub trait GithubRows {
    /// The record, if it has not ended.
    fn github_record(&mut self, kind: GithubKind, name: &str) -> Result<Option<GithubRecord>>;
    /// Inserts or replaces.
    fn put_github_record(&mut self, record: &GithubRecord) -> Result<()>;
    /// Deletes those that ended at `now` or before.
    fn drop_github_records_ended(&mut self, now: Timestamp) -> Result<()>;
}

pub fn put(rows: &mut impl Rows, now: Timestamp, request: &PutGithubRecord) -> Result<Outcome> {
    rows.drop_github_records_ended(now)?;
    let latest = rows.github_record(request.record_kind, &request.name)?.map_or(0, |record| record.revision);
    if request.expected_revision != latest {
        return Ok(Outcome::Refused(Refusal::GithubRecordChanged {
            record_kind: request.record_kind,
            name: request.name.clone(),
            revision: latest,
        }));
    }
    let revision = next_position(rows);
    rows.put_github_record(&GithubRecord {
        kind: request.record_kind,
        name: request.name.clone(),
        revision,
        body: request.body.clone(),
        updated_at: now,
        expires_at: request.ttl_seconds.map(|ttl| now + i64::from(ttl).seconds()),
    })?;
    Ok(Outcome::GithubRecordPut { revision })
}
