//! Features and the merge queue in SQLite.

use model::JsonText;
use model::features::{Feature, FeatureFilter, FeatureStatus};
use model::id::{FeatureId, Project};
use model::key::LockKey;
use model::merge_queue::{MergeEntry, MergeScope, MergeState};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, named_params};

use super::records::{instant, json, json_column, micros, word};
use super::rows::SqliteRows;
use super::{Result, failure, read};
use crate::engine::{Claim, FeatureRows, MergeRows, claims_of};

const FEATURE: &str = "feature_id, seq, title, branch_name, status, claims, merge_priority, metadata, registered_by, \
                       registered_at, updated_at";

fn feature(row: &Row<'_>) -> rusqlite::Result<Feature> {
    Ok(Feature {
        feature_id: word(row, 0)?,
        seq: row.get(1)?,
        title: row.get(2)?,
        branch_name: row.get(3)?,
        status: word::<FeatureStatus>(row, 4)?,
        claims: json_column(row, 5)?,
        merge_priority: row.get(6)?,
        metadata: row.get::<_, Option<String>>(7)?.map(JsonText::from_trusted),
        registered_by: word(row, 8)?,
        registered_at: instant(row, 9)?,
        updated_at: instant(row, 10)?,
    })
}

const ENTRY: &str =
    "feature_id, seq, state, pr_url, enqueued_by, queued_at, updated_at, checks, note, commit_id, ejections";

fn entry(row: &Row<'_>) -> rusqlite::Result<MergeEntry> {
    Ok(MergeEntry {
        feature_id: word(row, 0)?,
        seq: row.get(1)?,
        state: word::<MergeState>(row, 2)?,
        pr_url: row.get(3)?,
        enqueued_by: word(row, 4)?,
        queued_at: instant(row, 5)?,
        updated_at: instant(row, 6)?,
        checks: json_column(row, 7)?,
        note: row.get(8)?,
        commit: row.get(9)?,
        ejections: row.get(10)?,
    })
}

/// The features, oldest first.
pub fn features(connection: &Connection, project: &Project, filter: &FeatureFilter) -> rusqlite::Result<Vec<Feature>> {
    let sql = format!(
        "select {FEATURE} from features where project = :project
             and (:feature_id is null or feature_id = :feature_id)
             and (:status is null or status = :status)
         order by seq limit :limit"
    );
    let params = named_params! {
        ":project": project.as_str(),
        ":feature_id": filter.feature_id.as_ref().map(FeatureId::as_str),
        ":status": filter.status.map(FeatureStatus::as_str),
        ":limit": filter.limit,
    };
    read::all(connection, &sql, params, feature)
}

/// The entries that are open, first come first, or those that were merged, latest first.
pub fn merge_entries(
    connection: &Connection,
    project: &Project,
    scope: MergeScope,
    limit: u32,
) -> rusqlite::Result<Vec<MergeEntry>> {
    let sql = match scope {
        MergeScope::Open => format!(
            "select {ENTRY} from merge_queue where project = :project and state <> 'merged' order by seq limit :limit"
        ),
        MergeScope::Merged => format!(
            "select {ENTRY} from merge_queue where project = :project and state = 'merged' order by seq desc limit :limit"
        ),
    };
    read::all(connection, &sql, named_params! { ":project": project.as_str(), ":limit": limit }, entry)
}

fn claim(row: &Row<'_>) -> rusqlite::Result<Claim> {
    Ok(Claim {
        seq: row.get(0)?,
        feature_id: word(row, 1)?,
        agent_id: word(row, 2)?,
        key: LockKey::from_trusted(row.get(3)?, word(row, 4)?, row.get(5)?, row.get(6)?),
    })
}

impl FeatureRows for SqliteRows<'_> {
    fn feature(&mut self, feature_id: &FeatureId) -> Result<Option<Feature>> {
        let filter = FeatureFilter { feature_id: Some(feature_id.clone()), status: None, limit: 1 };
        Ok(features(self.connection, self.project, &filter).map_err(failure)?.into_iter().next())
    }

    fn active_features(&mut self) -> Result<u32> {
        let counts = self.select(
            "select count(*) from features where project = :project and status = 'active'",
            named_params! { ":project": self.project.as_str() },
            |row| row.get(0),
        )?;
        Ok(counts.into_iter().next().unwrap_or_default())
    }

    fn put_feature(&mut self, feature: &Feature) -> Result<()> {
        let (project, id) = (self.project.as_str(), feature.feature_id.as_str());
        self.execute(
            "insert or replace into features (project, feature_id, seq, title, branch_name, status, claims,
                 merge_priority, metadata, registered_by, registered_at, updated_at)
             values (:project, :feature_id, :seq, :title, :branch_name, :status, :claims, :merge_priority, :metadata,
                 :registered_by, :registered_at, :updated_at)",
            named_params! {
                ":project": project,
                ":feature_id": id,
                ":seq": feature.seq,
                ":title": feature.title,
                ":branch_name": feature.branch_name,
                ":status": feature.status.as_str(),
                ":claims": json(&feature.claims),
                ":merge_priority": feature.merge_priority,
                ":metadata": feature.metadata.as_ref().map(JsonText::as_str),
                ":registered_by": feature.registered_by.as_str(),
                ":registered_at": micros(feature.registered_at),
                ":updated_at": micros(feature.updated_at),
            },
        )?;
        self.execute(
            "delete from feature_claims where project = :project and feature_id = :feature_id",
            named_params! { ":project": project, ":feature_id": id },
        )?;
        for (text, key) in claims_of(feature) {
            self.execute(
                "insert into feature_claims (project, feature_id, key, space, stem, pattern, wild, seq, agent_id)
                 values (:project, :feature_id, :key, :space, :stem, :pattern, :wild, :seq, :agent_id)",
                named_params! {
                    ":project": project, ":feature_id": id, ":key": text, ":space": key.space().as_str(),
                    ":stem": key.stem(), ":pattern": key.pattern(), ":wild": key.is_wild(), ":seq": feature.seq,
                    ":agent_id": feature.registered_by.as_str(),
                },
            )?;
            self.overview.has_claims = true;
        }
        Ok(())
    }

    fn claims_near(&mut self, key: &LockKey) -> Result<Vec<Claim>> {
        if !self.overview.has_claims {
            return Ok(vec![]);
        }
        // '0' is the character after '/': what begins with "stem/" lies between the two. Any blob comes after every text.
        let (from, to) = match key.stem() {
            "" => (String::new(), Value::Blob(vec![])),
            stem => (format!("{stem}/"), Value::Text(format!("{stem}0"))),
        };
        self.select(
            "select seq, feature_id, agent_id, key, space, pattern, wild from feature_claims
             where project = :project and space = :space and stem in (select value from json_each(:lineage))
             union all
             select seq, feature_id, agent_id, key, space, pattern, wild from feature_claims
             where project = :project and space = :space and stem > :from and stem < :to",
            named_params! {
                ":project": self.project.as_str(), ":space": key.space().as_str(), ":lineage": json(&key.lineage()),
                ":from": from, ":to": to,
            },
            claim,
        )
    }
}

impl MergeRows for SqliteRows<'_> {
    fn merge_entry(&mut self, feature_id: &FeatureId) -> Result<Option<MergeEntry>> {
        let entries = self.select(
            &format!("select {ENTRY} from merge_queue where project = :project and feature_id = :feature_id"),
            named_params! { ":project": self.project.as_str(), ":feature_id": feature_id.as_str() },
            entry,
        )?;
        Ok(entries.into_iter().next())
    }

    fn put_merge_entry(&mut self, entry: &MergeEntry) -> Result<()> {
        self.execute(
            "insert or replace into merge_queue (project, feature_id, seq, state, pr_url, enqueued_by, queued_at,
                 updated_at, checks, note, commit_id, ejections)
             values (:project, :feature_id, :seq, :state, :pr_url, :enqueued_by, :queued_at, :updated_at, :checks,
                 :note, :commit_id, :ejections)",
            named_params! {
                ":project": self.project.as_str(),
                ":feature_id": entry.feature_id.as_str(),
                ":seq": entry.seq,
                ":state": entry.state.as_str(),
                ":pr_url": entry.pr_url,
                ":enqueued_by": entry.enqueued_by.as_str(),
                ":queued_at": micros(entry.queued_at),
                ":updated_at": micros(entry.updated_at),
                ":checks": json(&entry.checks),
                ":note": entry.note,
                ":commit_id": entry.commit,
                ":ejections": entry.ejections,
            },
        )
    }

    fn drop_merge_entry(&mut self, feature_id: &FeatureId) -> Result<()> {
        self.execute(
            "delete from merge_queue where project = :project and feature_id = :feature_id",
            named_params! { ":project": self.project.as_str(), ":feature_id": feature_id.as_str() },
        )
    }
}
