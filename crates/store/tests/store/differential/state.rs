//! What a store shows of a project: all of it is compared, and a part is kept to know what to ask for next.

use std::fmt;

use jiff::Timestamp;
use model::api_keys::ApiKey;
use model::approvals::{Approval, ApprovalFilter, ApprovalStatus};
use model::audit::{AuditEntry, AuditFilter, SYSTEM_AGENT};
use model::features::{Feature, FeatureFilter, FeatureStatus};
use model::github::{GithubKind, GithubRecord};
use model::handoffs::{Handoff, HandoffFilter};
use model::id::{Project, SessionId};
use model::locks::{Lock, Waiter};
use model::memories::{Candidate, EVERY, Found, Search};
use model::merge_queue::{MergeEntry, MergeScope};
use model::messages::{Message, MessageFilter};
use model::ports::PortBlock;
use model::ranking::{Question, Ranked};
use model::rulebook::{Rule, RuleKind};
use model::sessions::Session;
use model::skills::Skill;
use model::verification::{Changeset, ChangesetFilter, ChangesetState};
use model::work::{Task, TaskFilter, TaskStatus};
use model::working_memory::{Note, NotesOwner};
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::script::{AGENTS, FEATURES, FINGERPRINTS, KEYS, SESSIONS, TEXTS, WORDS};
use super::{Checked, Run, agent, failed};
use crate::harness::{World, key};

/// What the reference held after the last batch.
#[derive(Default)]
pub struct Known {
    pub locks: Vec<Lock>,
    pub waiters: Vec<Waiter>,
    pub tasks: Vec<Task>,
    pub sessions: Vec<Session>,
    pub port_blocks: Vec<PortBlock>,
    pub approvals: Vec<Approval>,
    pub changesets: Vec<Changeset>,
    pub rules: Vec<Rule>,
    pub github: Vec<GithubRecord>,
}

/// All that can be seen of a project.
#[derive(Debug, PartialEq)]
struct Seen {
    locks: Vec<Lock>,
    near: Vec<Vec<Lock>>,
    waiters: Vec<Waiter>,
    tasks: Vec<Task>,
    failed: Vec<Task>,
    page: Vec<Task>,
    one: Option<Task>,
    connected: (Vec<Session>, Timestamp),
    gone: (Vec<Session>, Timestamp),
    handoffs: Vec<Handoff>,
    ann_s: Vec<Handoff>,
    of_feature: Vec<Handoff>,
    of_session: Vec<Handoff>,
    messages: Vec<Message>,
    about: Vec<Message>,
    inboxes: Vec<Vec<Message>>,
    port_blocks: Vec<PortBlock>,
    audit: Vec<AuditEntry>,
    refusals: Vec<AuditEntry>,
    found: Found,
    candidates: Vec<Candidate>,
    recalled: Vec<Vec<Ranked>>,
    notes: Vec<Vec<Note>>,
    skills: Vec<Skill>,
    features: Vec<Feature>,
    active: Vec<Feature>,
    merge_entries: Vec<Vec<MergeEntry>>,
    changesets: Vec<Changeset>,
    some_changesets: Vec<Changeset>,
    approvals: Vec<Approval>,
    approved: Vec<Approval>,
    rules: (Vec<Rule>, i64),
    histories: Vec<Vec<Rule>>,
    github: Vec<Vec<GithubRecord>>,
    keys: Vec<ApiKey>,
}

pub fn differ(what: &str, engine: &str, expected: &impl fmt::Debug, actual: &impl fmt::Debug) -> TestCaseError {
    let (expected, actual) = (format!("{expected:#?}"), format!("{actual:#?}"));
    let at = expected.lines().zip(actual.lines()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text.lines().skip(at.saturating_sub(25)).take(40).collect::<Vec<_>>().join("\n");
    TestCaseError::fail(format!(
        "{what} differ\n--- reference, from line {at} ---\n{}\n--- {engine} ---\n{}",
        around(&expected),
        around(&actual)
    ))
}

impl Run {
    /// Looks at the reference. Nothing is due right after a batch, so this changes nothing.
    pub async fn look(&mut self) -> Checked<()> {
        let (store, project) = (&self.worlds[0].store, &self.worlds[0].project);
        let due = store.due_projects().await.map_err(failed)?;
        prop_assert!(!due.contains(project), "something is due right after a batch");
        self.known = Known {
            locks: store.locks(project, None).await.map_err(failed)?,
            waiters: store.waiters(project).await.map_err(failed)?,
            tasks: store.tasks(project, &all_tasks()).await.map_err(failed)?,
            sessions: store.sessions(project, true).await.map_err(failed)?.0,
            port_blocks: store.port_blocks().await.map_err(failed)?.0,
            approvals: store.approvals(project, &all_approvals()).await.map_err(failed)?,
            changesets: store.changesets(project, &all_changesets()).await.map_err(failed)?,
            rules: store.rules(project).await.map_err(failed)?,
            github: all_github(store, project).await?,
        };
        Ok(())
    }

    /// Compares all that can be seen.
    pub async fn compare(&self) -> Checked<()> {
        let expected = self.seen(&self.worlds[0]).await?;
        prop_assert!(
            expected.audit.iter().rev().map(|e| e.seq).eq(1..=expected.audit.len() as i64),
            "gaps in the trail"
        );
        // A superseded memory never comes before its successor.
        for ranked in &expected.recalled {
            for (at, after) in ranked.iter().enumerate() {
                let is_outdated = |before: &Ranked| before.memory.superseded_by == Some(after.memory.memory_id);
                prop_assert!(!ranked[..at].iter().any(is_outdated), "{:?}", ranked);
                prop_assert!((0.0..=1.0).contains(&after.relevance));
            }
        }
        let rows = expected.audit.iter().filter(|e| e.agent_id != SYSTEM_AGENT).count();
        prop_assert_eq!(rows, self.answered, "one row for each command that was answered");
        for world in &self.worlds[1..] {
            let actual = self.seen(world).await?;
            if actual != expected {
                return Err(differ("states", world.engine().name(), &expected, &actual));
            }
        }
        let (expected, singly) = (without_cleanups(expected), without_cleanups(self.seen(&self.singly).await?));
        if expected != singly {
            return Err(differ("states", "one by one", &expected, &singly));
        }
        Ok(())
    }

    async fn seen(&self, world: &World) -> Checked<Seen> {
        let (store, project) = (&world.store, &world.project);
        let mut near = vec![];
        for text in [".", "src/auth", "src/**/*.rs", "api:/v1/users", "db:users"] {
            near.push(store.locks(project, Some(&[key(text), key("flag:billing/x")])).await.map_err(failed)?);
        }
        let all = AuditFilter { limit: 10_000, ..AuditFilter::default() };
        let mut audit = store.audit(project, &all).await.map_err(failed)?;
        let mut refusals = store
            .audit(project, &AuditFilter { success: Some(false), agent_id: Some("ann".into()), limit: 3, ..all })
            .await
            .map_err(failed)?;
        for entry in audit.iter_mut().chain(&mut refusals).filter(|e| e.agent_id == SYSTEM_AGENT) {
            entry.id = Uuid::nil();
        }
        let failed_only = TaskFilter { status: Some(TaskStatus::Failed), ..all_tasks() };
        let tasks = store.tasks(project, &all_tasks()).await.map_err(failed)?;
        let page = TaskFilter { limit: 2, before: tasks.get(1).map(|t| t.seq), task_type: None, ..all_tasks() };
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let search = Search { words: texts(WORDS), filters: texts(&[EVERY, "#db", "!error", "!decision"]), limit: 7 };
        let found = store.search_memories(project, &search).await.map_err(failed)?;
        let seqs: Vec<i64> = found.words.iter().chain(&found.filters).flat_map(|p| p.seqs.iter().copied()).collect();
        let mut recalled = vec![];
        for (text, tags) in [("pool of zones in src/zones.rs", vec![]), ("", vec![]), ("retry ünï", texts(&["db"]))] {
            let question = Question::new(text, &tags, None);
            recalled.push(store::recall(&**store, project, &question).await.map_err(failed)?);
        }
        let mut notes = vec![];
        for name in AGENTS {
            for session in [None, Some(SESSIONS[0]), Some(SESSIONS[2])] {
                let session_id = session.map(|s| SessionId::new(s).unwrap());
                let owner = NotesOwner { agent_id: agent(name), session_id };
                notes.push(store.notes(project, &owner, None).await.map_err(failed)?);
            }
        }
        let mut histories = vec![];
        for kind in RuleKind::ALL {
            histories.push(store.rule_history(project, kind, TEXTS[0], 3).await.map_err(failed)?);
        }
        let rules = store.rules(project).await.map_err(failed)?;
        let rules = (rules, store.rules_version(project).await.map_err(failed)?);
        let mut github = vec![store.github_records(project, GithubKind::Issue, Some(TEXTS[0])).await.map_err(failed)?];
        for kind in GithubKind::ALL {
            github.push(store.github_records(project, kind, None).await.map_err(failed)?);
        }
        let mut keys = store.api_keys().await.map_err(failed)?.0;
        keys.retain(|key| key.project == *project);
        let mut port_blocks = store.port_blocks().await.map_err(failed)?.0;
        port_blocks.retain(|block| block.project == *project);
        let approved = ApprovalFilter {
            status: Some(ApprovalStatus::Approved),
            agent_id: Some(agent("ann")),
            fingerprint: Some(FINGERPRINTS[0].into()),
            limit: 3,
            ..all_approvals()
        };
        let mut inboxes = vec![];
        for name in AGENTS {
            inboxes.push(store.unread_messages(project, &agent(name), 5).await.map_err(failed)?);
        }
        let mut merge_entries = vec![];
        for scope in [MergeScope::Open, MergeScope::Merged] {
            merge_entries.push(store.merge_entries(project, scope, 3).await.map_err(failed)?);
        }
        let some_changesets = ChangesetFilter {
            state: Some(ChangesetState::Passed),
            agent_id: Some(agent("ann")),
            limit: 2,
            ..all_changesets()
        };
        let features = FeatureFilter { limit: 1000, ..FeatureFilter::default() };
        let active = FeatureFilter { status: Some(FeatureStatus::Active), limit: 2, ..FeatureFilter::default() };
        let messages = MessageFilter { limit: 1000, ..MessageFilter::default() };
        let about = MessageFilter { thread: Some(KEYS[0].into()), sender: Some(agent(AGENTS[0])), limit: 3 };
        let handoffs = HandoffFilter { limit: 1000, ..HandoffFilter::default() };
        let ann_s = HandoffFilter { agent_id: Some(agent("ann")), limit: 3, ..handoffs.clone() };
        let of_feature = HandoffFilter { feature_id: Some(FEATURES[0].into()), ..handoffs.clone() };
        let of_session = HandoffFilter { session_id: SessionId::new(SESSIONS[0]).ok(), ..handoffs.clone() };
        Ok(Seen {
            locks: store.locks(project, None).await.map_err(failed)?,
            near,
            waiters: store.waiters(project).await.map_err(failed)?,
            failed: store.tasks(project, &failed_only).await.map_err(failed)?,
            page: store.tasks(project, &page).await.map_err(failed)?,
            one: match self.submitted.last() {
                Some(id) => store.task(project, *id).await.map_err(failed)?,
                None => None,
            },
            tasks,
            connected: store.sessions(project, true).await.map_err(failed)?,
            gone: store.sessions(project, false).await.map_err(failed)?,
            handoffs: store.handoffs(project, &handoffs).await.map_err(failed)?,
            ann_s: store.handoffs(project, &ann_s).await.map_err(failed)?,
            of_feature: store.handoffs(project, &of_feature).await.map_err(failed)?,
            of_session: store.handoffs(project, &of_session).await.map_err(failed)?,
            messages: store.messages(project, &messages).await.map_err(failed)?,
            about: store.messages(project, &about).await.map_err(failed)?,
            inboxes,
            port_blocks,
            audit,
            refusals,
            candidates: store.memories(project, &seqs, &search.words).await.map_err(failed)?,
            found,
            recalled,
            notes,
            skills: store.skills(project).await.map_err(failed)?,
            features: store.features(project, &features).await.map_err(failed)?,
            active: store.features(project, &active).await.map_err(failed)?,
            merge_entries,
            changesets: store.changesets(project, &all_changesets()).await.map_err(failed)?,
            some_changesets: store.changesets(project, &some_changesets).await.map_err(failed)?,
            approvals: store.approvals(project, &all_approvals()).await.map_err(failed)?,
            approved: store.approvals(project, &approved).await.map_err(failed)?,
            rules,
            histories,
            github,
            keys,
        })
    }
}

/// All that is known of GitHub.
async fn all_github(store: &std::sync::Arc<dyn store::Store>, project: &Project) -> Checked<Vec<GithubRecord>> {
    let mut records = vec![];
    for kind in GithubKind::ALL {
        records.extend(store.github_records(project, kind, None).await.map_err(failed)?);
    }
    Ok(records)
}

fn all_changesets() -> ChangesetFilter {
    ChangesetFilter { limit: 1000, ..ChangesetFilter::default() }
}

fn all_approvals() -> ApprovalFilter {
    ApprovalFilter { limit: 1000, ..ApprovalFilter::default() }
}

fn all_tasks() -> TaskFilter {
    TaskFilter { limit: 1000, ..TaskFilter::default() }
}

fn without_cleanups(mut seen: Seen) -> Seen {
    for entry in seen.audit.iter_mut().filter(|e| e.result["kind"] == "cleaned") {
        entry.result = Value::Null;
    }
    seen
}
