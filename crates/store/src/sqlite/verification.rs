//! Changesets in SQLite.

use jiff::Timestamp;
use model::id::{AgentId, FeatureId, Project};
use model::verification::{Changeset, ChangesetFilter, ChangesetState, Executor, Run, RunState, Trigger};
use rusqlite::{Connection, Row, ToSql, named_params};
use uuid::Uuid;

use super::records::{self, instant, json, json_column, micros, optional_instant, optional_word, word};
use super::rows::SqliteRows;
use super::{Result, failure, read};
use crate::engine::VerificationRows;

const CHANGESET: &str = "changeset_id, seq, revision, trigger, agent_id, agent_type, feature_id, task_id, policies, \
                         commit_id, tree, base, changed_paths, changed_total, state, note, created_at, ended_at";

/// Without its runs.
fn changeset(row: &Row<'_>) -> rusqlite::Result<Changeset> {
    let policies: Option<String> = row.get(8)?;
    Ok(Changeset {
        changeset_id: records::uuid(row, 0)?,
        seq: row.get(1)?,
        revision: row.get(2)?,
        trigger: word::<Trigger>(row, 3)?,
        agent_id: word(row, 4)?,
        agent_type: row.get(5)?,
        feature_id: optional_word(row, 6)?,
        task_id: optional_uuid(row, 7)?,
        policies: policies.map(|_| json_column(row, 8)).transpose()?,
        commit: row.get(9)?,
        tree: row.get(10)?,
        base: row.get(11)?,
        changed_paths: json_column(row, 12)?,
        changed_total: row.get(13)?,
        state: word::<ChangesetState>(row, 14)?,
        note: row.get(15)?,
        created_at: instant(row, 16)?,
        ended_at: optional_instant(row, 17)?,
        runs: vec![],
    })
}

const RUN: &str = "run_id, ordinal, policy, tier, executor, timeout_seconds, approval_id, state, attempt, runner, token, \
                   lease_expires_at, started_at, ended_at, key, reused_from, external_id, evidence, log_url";

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        run_id: records::uuid(row, 0)?,
        ordinal: row.get(1)?,
        policy: row.get(2)?,
        tier: row.get(3)?,
        executor: word::<Executor>(row, 4)?,
        timeout_seconds: row.get(5)?,
        approval_id: optional_uuid(row, 6)?,
        state: word::<RunState>(row, 7)?,
        attempt: row.get(8)?,
        runner: optional_word(row, 9)?,
        token: row.get(10)?,
        lease_expires_at: optional_instant(row, 11)?,
        started_at: optional_instant(row, 12)?,
        ended_at: optional_instant(row, 13)?,
        key: row.get(14)?,
        reused_from: optional_uuid(row, 15)?,
        external_id: row.get(16)?,
        evidence: row.get(17)?,
        log_url: row.get(18)?,
    })
}

fn optional_uuid(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Uuid>> {
    Ok(row.get::<_, Option<[u8; 16]>>(at)?.map(Uuid::from_bytes))
}

/// A page of changesets, newest first.
pub fn list(connection: &Connection, project: &Project, filter: &ChangesetFilter) -> rusqlite::Result<Vec<Changeset>> {
    let params = named_params! {
        ":project": project.as_str(),
        ":changeset_id": filter.changeset_id.as_ref().map(Uuid::as_bytes),
        ":state": filter.state.map(ChangesetState::as_str),
        ":agent_id": filter.agent_id.as_ref().map(AgentId::as_str),
        ":feature_id": filter.feature_id.as_ref().map(FeatureId::as_str),
        ":commit": filter.commit,
        ":before": filter.before,
        ":limit": filter.limit,
    };
    let condition = "(:changeset_id is null or changeset_id = :changeset_id)
         and (:state is null or state = :state)
         and (:agent_id is null or agent_id = :agent_id)
         and (:feature_id is null or feature_id = :feature_id)
         and (:commit is null or commit_id = :commit)
         and (:before is null or seq < :before)
     order by seq desc limit :limit";
    changesets_where(connection, project, condition, params)
}

/// With their runs.
fn changesets_where(
    connection: &Connection,
    project: &Project,
    condition: &'static str,
    params: &[(&str, &dyn ToSql)],
) -> rusqlite::Result<Vec<Changeset>> {
    let sql = format!("select {CHANGESET} from changesets where project = :project and {condition}");
    let mut changesets = read::all(connection, &sql, params, changeset)?;
    let sql = format!(
        "select {RUN} from verification_runs where project = :project and changeset_seq = :seq order by ordinal"
    );
    for changeset in &mut changesets {
        let params = named_params! { ":project": project.as_str(), ":seq": changeset.seq };
        changeset.runs = read::all(connection, &sql, params, run)?;
    }
    Ok(changesets)
}

impl SqliteRows<'_> {
    fn changesets(&self, condition: &'static str, params: &[(&str, &dyn ToSql)]) -> Result<Vec<Changeset>> {
        changesets_where(self.connection, self.project, condition, params).map_err(failure)
    }

    fn the_changeset(&self, condition: &'static str, id: Uuid) -> Result<Option<Changeset>> {
        let params = named_params! { ":project": self.project.as_str(), ":id": id.as_bytes() };
        Ok(self.changesets(condition, params)?.into_iter().next())
    }
}

impl VerificationRows for SqliteRows<'_> {
    fn changeset(&mut self, changeset_id: Uuid) -> Result<Option<Changeset>> {
        self.the_changeset("changeset_id = :id", changeset_id)
    }

    fn changeset_of_run(&mut self, run_id: Uuid) -> Result<Option<Changeset>> {
        self.the_changeset(
            "seq = (select changeset_seq from verification_runs where project = :project and run_id = :id)",
            run_id,
        )
    }

    fn changeset_of_approval(&mut self, approval_id: Uuid) -> Result<Option<Changeset>> {
        self.the_changeset(
            "seq = (select min(changeset_seq) from verification_runs where project = :project and approval_id = :id)",
            approval_id,
        )
    }

    fn open_changesets(&mut self) -> Result<Vec<Changeset>> {
        self.changesets(
            "state in ('queued', 'running') order by seq",
            named_params! { ":project": self.project.as_str() },
        )
    }

    fn passed_run(&mut self, key: &str, approved_as: Option<&str>) -> Result<Option<Uuid>> {
        let runs = self.select(
            "select run_id from verification_runs
             where project = :project and state = 'passed' and reused_from is null and key = :key
                 and (:policy is null or (approval_id is not null and policy = :policy))
             order by changeset_seq, ordinal limit 1",
            named_params! { ":project": self.project.as_str(), ":key": key, ":policy": approved_as },
            |row| records::uuid(row, 0),
        )?;
        Ok(runs.into_iter().next())
    }

    fn runs_lapsed(&mut self, now: Timestamp) -> Result<Vec<Uuid>> {
        self.select(
            "select run_id from verification_runs
             where project = :project and lease_expires_at is not null and lease_expires_at <= :now
             order by changeset_seq, ordinal",
            named_params! { ":project": self.project.as_str(), ":now": micros(now) },
            |row| records::uuid(row, 0),
        )
    }

    fn put_changeset(&mut self, changeset: &Changeset) -> Result<()> {
        self.execute(
            "insert or replace into changesets (project, seq, changeset_id, revision, trigger, agent_id, agent_type,
                 feature_id, task_id, policies, commit_id, tree, base, changed_paths, changed_total, state, note,
                 created_at, ended_at)
             values (:project, :seq, :changeset_id, :revision, :trigger, :agent_id, :agent_type, :feature_id, :task_id,
                 :policies, :commit, :tree, :base, :changed_paths, :changed_total, :state, :note, :created_at,
                 :ended_at)",
            named_params! {
                ":project": self.project.as_str(),
                ":seq": changeset.seq,
                ":changeset_id": changeset.changeset_id.as_bytes(),
                ":revision": changeset.revision,
                ":trigger": changeset.trigger.as_str(),
                ":agent_id": changeset.agent_id.as_str(),
                ":agent_type": changeset.agent_type,
                ":feature_id": changeset.feature_id.as_ref().map(FeatureId::as_str),
                ":task_id": changeset.task_id.as_ref().map(Uuid::as_bytes),
                ":policies": changeset.policies.as_ref().map(json),
                ":commit": changeset.commit,
                ":tree": changeset.tree,
                ":base": changeset.base,
                ":changed_paths": json(&changeset.changed_paths),
                ":changed_total": changeset.changed_total,
                ":state": changeset.state.as_str(),
                ":note": changeset.note,
                ":created_at": micros(changeset.created_at),
                ":ended_at": changeset.ended_at.map(micros),
            },
        )?;
        for run in &changeset.runs {
            self.execute(
                "insert or replace into verification_runs (project, changeset_seq, ordinal, run_id, policy, tier,
                     executor, timeout_seconds, approval_id, state, attempt, runner, token, lease_expires_at,
                     started_at, ended_at, key, reused_from, external_id, evidence, log_url)
                 values (:project, :seq, :ordinal, :run_id, :policy, :tier, :executor, :timeout_seconds, :approval_id,
                     :state, :attempt, :runner, :token, :lease_expires_at, :started_at, :ended_at, :key, :reused_from,
                     :external_id, :evidence, :log_url)",
                named_params! {
                    ":project": self.project.as_str(),
                    ":seq": changeset.seq,
                    ":ordinal": run.ordinal,
                    ":run_id": run.run_id.as_bytes(),
                    ":policy": run.policy,
                    ":tier": run.tier,
                    ":executor": run.executor.as_str(),
                    ":timeout_seconds": run.timeout_seconds,
                    ":approval_id": run.approval_id.as_ref().map(Uuid::as_bytes),
                    ":state": run.state.as_str(),
                    ":attempt": run.attempt,
                    ":runner": run.runner.as_ref().map(AgentId::as_str),
                    ":token": run.token,
                    ":lease_expires_at": run.lease_expires_at.map(micros),
                    ":started_at": run.started_at.map(micros),
                    ":ended_at": run.ended_at.map(micros),
                    ":key": run.key,
                    ":reused_from": run.reused_from.as_ref().map(Uuid::as_bytes),
                    ":external_id": run.external_id,
                    ":evidence": run.evidence,
                    ":log_url": run.log_url,
                },
            )?;
        }
        Ok(())
    }
}
