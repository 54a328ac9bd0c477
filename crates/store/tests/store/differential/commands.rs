//! What a script asks for, as commands: what it left open is looked up in what the reference held last.

use jiff::{SignedDuration, Timestamp};
use model::JsonText;
use model::api_keys::ApiKey;
use model::approvals::{ApprovalStatus, DecideApproval, Pass, RequestApproval, Subject};
use model::chain::{Digest256, Seal};
use model::command::{
    Acquire, Action, AllocatePorts, Cancel, Claim, Cleanup, Command, Complete, Finish, ReadMessages, Refusal, Register,
    Release, SendMessage, Submit, Wait, WriteHandoff,
};
use model::features::{DeregisterFeature, RegisterFeature};
use model::github::PutGithubRecord;
use model::handoffs::Notes;
use model::id::{Caller, FeatureId, SessionId};
use model::key::LockKey;
use model::locks::{Lock, LockMode};
use model::memories::{EventType, Remember};
use model::merge_queue::{CheckName, EnqueueMerge, MergeCheck, MoveMerge};
use model::network::NetworkCheck;
use model::rulebook::PutRule;
use model::skills::RecordSkillUse;
use model::verification::{
    APPROVAL_OPERATION, ClaimRun, Executor, PlanChangeset, PlannedRun, RenewRun, ReportRun, SubmitChangeset,
};
use model::work::Task;
use model::working_memory::UpdateWorkingMemory;
use serde_json::json;
use uuid::Uuid;

use super::script::{Ask, FINGERPRINTS, JSON, RememberAsk, SubmitAsk, TEXTS, TYPES, TaskRef, Token, What};
use super::{Run, agent};
use crate::harness::{self, key, operation};

impl Run {
    pub fn command(&mut self, ask: &Ask) -> Command {
        let caller = Caller {
            agent_id: agent(ask.agent),
            agent_type: if ask.agent == "bob" { "codex_cli" } else { "claude_code_cli" }.into(),
            session_id: ask.session.map(|s| SessionId::new(s).unwrap()),
        };
        let action = self.action(&caller, &ask.what);
        self.commands += 1;
        Command {
            id: self.id(1, self.commands),
            caller,
            operation: operation(&action).into(),
            parameters: JsonText::new(&json!({"text": TEXTS[2], "number": [0.5, 7, null]})),
            duration_ms: 3,
            limits: ask.limits,
            approval: ask.pass.and_then(|(latest, truly)| self.pass(latest, truly)),
            action,
        }
    }

    /// The latest approval but so many, as the reference knows it.
    fn pass(&self, latest: u8, truly: bool) -> Option<Pass> {
        let approval = self.known.approvals.get(usize::from(latest))?;
        let subject = &approval.subject;
        let fingerprint = if truly { subject.fingerprint.clone() } else { FINGERPRINTS[2].into() };
        Some(Pass { approval_id: approval.approval_id, operation: subject.operation.clone(), fingerprint })
    }

    /// The ids of a run sort differently from the order in which they are minted.
    fn id(&self, kind: u128, count: u128) -> Uuid {
        Uuid::from_u128((count * 0x9e37_79b9 % 0xffff_ffff) << 96 | kind << 64 | self.number << 16 | count)
    }

    fn action(&mut self, caller: &Caller, what: &What) -> Action {
        match what {
            What::Acquire { keys, shared, ttl, reason, feature, token, wait } => {
                let keys = sorted_keys(keys);
                Action::Acquire(Acquire {
                    fencing_token: self.token_of_lock(caller, &keys, *token),
                    keys,
                    mode: if *shared { LockMode::Shared } else { LockMode::Exclusive },
                    reason: reason.map(Into::into),
                    ttl_seconds: *ttl,
                    feature_id: feature.map(Into::into),
                    wait: wait.map(|(ticket, last)| Wait { ticket: self.id(2, u128::from(ticket)), last }),
                })
            }
            What::Release { keys, token } => {
                let keys = sorted_keys(keys);
                Action::Release(Release { fencing_token: self.token_of_lock(caller, &keys, *token), keys })
            }
            What::Submit(ask) => Action::Submit(self.submit(caller, ask)),
            What::Claim { types, lease, waits } => {
                let types = types.as_ref().map(|types| types.iter().map(|t| (*t).into()).collect());
                Action::Claim(Claim { task_types: types, lease_seconds: *lease, waits: *waits })
            }
            What::Complete { task, success, code, result, token } => {
                let task_id = self.task(caller, *task);
                let current = self.known.tasks.iter().find(|t| t.task_id == task_id).and_then(|t| t.fencing_token);
                Action::Complete(Complete {
                    task_id,
                    success: *success,
                    result: result.map(|text| JsonText::from_trusted(text.into())),
                    error_code: code.map(Into::into),
                    error_message: code.map(|_| TEXTS[2].into()),
                    fencing_token: resolved(*token, current),
                })
            }
            What::Cancel { task, reason } => Action::Cancel(Cancel {
                task_id: self.task(caller, *task),
                reason: (*reason).into(),
                result: JsonText::from_trusted(JSON[1].into()),
            }),
            What::Finish(task) => Action::Finish(Finish {
                task_id: self.task(caller, *task),
                result: JsonText::from_trusted(JSON[1].into()),
            }),
            What::Register { capabilities, ttl } => {
                let mut capabilities: Vec<String> = capabilities.iter().map(|c| (*c).into()).collect();
                capabilities.sort();
                capabilities.dedup();
                let current_task = (*ttl > 10).then(|| TEXTS[2].into());
                Action::Register(Register { capabilities, current_task, ttl_seconds: *ttl })
            }
            What::Heartbeat => Action::Heartbeat,
            What::EndSession => Action::EndSession,
            What::Message { audience, thread, text } => Action::SendMessage(SendMessage {
                message_id: self.id(8, self.commands),
                audience: audience.clone(),
                thread: thread.map(Into::into),
                text: (*text).into(),
            }),
            What::ReadMessages(limit) => Action::ReadMessages(ReadMessages { limit: *limit }),
            What::Cleanup { silent } => Action::Cleanup(Cleanup { silent_seconds: *silent }),
            What::WriteHandoff { feature, summary, lists, content } => {
                let list = |at: usize| lists[at].iter().map(|text| (*text).to_owned()).collect();
                Action::WriteHandoff(WriteHandoff {
                    handoff_id: self.id(6, self.commands),
                    feature_id: feature.map(Into::into),
                    notes: Notes {
                        summary: (*summary).into(),
                        completed_work: list(0),
                        in_progress: list(1),
                        decisions: list(2),
                        next_steps: list(3),
                        relevant_files: list(4),
                        content: content.map(|text| JsonText::from_trusted(text.into())),
                    },
                })
            }
            What::AllocatePorts { session, candidates, ttl } => {
                // Blocks of earlier runs in the same store are out of reach.
                let first = 1024 + (self.number % 200) as u16 * 64;
                Action::AllocatePorts(AllocatePorts {
                    session_id: SessionId::new(*session).unwrap(),
                    candidates: candidates.iter().map(|port| first + port).collect(),
                    ttl_seconds: *ttl,
                })
            }
            What::ReleasePorts { session } => Action::ReleasePorts { session_id: SessionId::new(*session).unwrap() },
            What::Remember(ask) => Action::Remember(self.remember(caller, ask)),
            What::Note { key, value, pinned } => Action::UpdateWorkingMemory(UpdateWorkingMemory {
                key: (*key).into(),
                value: value.map(|text| JsonText::from_trusted(text.into())),
                pinned: *pinned,
            }),
            What::SkillUse { name, task_type, success, description, steps } => Action::RecordSkillUse(RecordSkillUse {
                skill_name: (*name).into(),
                task_type: (*task_type).into(),
                success: *success,
                description: description.map(Into::into),
                steps: steps.as_ref().map(|steps| steps.iter().map(|s| (*s).into()).collect()),
            }),
            What::RequestApproval { operation, fingerprint, reason, ttl, refused } => {
                let approval_id = self.id(6, self.asked.len() as u128);
                self.asked.push(approval_id);
                Action::RequestApproval(RequestApproval {
                    approval_id,
                    subject: Subject {
                        operation: (*operation).into(),
                        resource: (*reason).into(),
                        fingerprint: (*fingerprint).into(),
                        reason: (*reason).into(),
                    },
                    ttl_seconds: *ttl,
                    refusal: refused.map(|text| Refusal::DestructiveOperationBlocked {
                        operation: (*operation).into(),
                        rules: vec![text.into()],
                    }),
                })
            }
            What::DecideApproval { approval, verdict, scope, ttl, note } => {
                let at = self.asked.len().checked_sub(1 + usize::from(*approval));
                let of_runs = self
                    .known
                    .approvals
                    .iter()
                    .filter(|a| a.status == ApprovalStatus::Pending && a.subject.operation == APPROVAL_OPERATION);
                let of_run = of_runs.map(|a| a.approval_id).nth(usize::from(approval / 2));
                let of_run = of_run.filter(|_| approval % 2 == 1);
                Action::DecideApproval(DecideApproval {
                    approval_id: of_run.unwrap_or(at.map_or(Uuid::nil(), |at| self.asked[at])),
                    verdict: *verdict,
                    scope: *scope,
                    ttl_seconds: *ttl,
                    note: note.map(Into::into),
                })
            }
            What::UseApproval => Action::UseApproval,
            What::PutRule { kind, name, body, seen } => {
                let known = self.known.rules.iter().find(|rule| rule.kind == *kind && rule.name == *name);
                let version = known.map_or(0, |rule| rule.version);
                Action::PutRule(PutRule {
                    kind: *kind,
                    name: (*name).into(),
                    body: body.map(Into::into),
                    expected_version: seen.map(|more| version + more),
                })
            }
            What::PutGithub { kind, name, body, ttl, seen } => {
                let known = self.known.github.iter().find(|record| record.kind == *kind && record.name == *name);
                Action::PutGithubRecord(PutGithubRecord {
                    record_kind: *kind,
                    name: (*name).into(),
                    expected_revision: known.map_or(0, |record| record.revision) + seen,
                    body: JsonText::from_trusted((*body).into()),
                    ttl_seconds: *ttl,
                })
            }
            What::RegisterFeature { feature, claims, priority, title, metadata } => {
                Action::RegisterFeature(RegisterFeature {
                    feature_id: feature_id(feature),
                    title: title.map(Into::into),
                    branch_name: title.map(Into::into),
                    claims: sorted_keys(claims),
                    merge_priority: *priority,
                    metadata: metadata.map(|text| JsonText::from_trusted(text.into())),
                })
            }
            What::DeregisterFeature { feature, end } => {
                Action::DeregisterFeature(DeregisterFeature { feature_id: feature_id(feature), end: *end })
            }
            What::EnqueueMerge { feature, pr_url } => {
                Action::EnqueueMerge(EnqueueMerge { feature_id: feature_id(feature), pr_url: pr_url.map(Into::into) })
            }
            What::MoveMerge { feature, state, note, checks } => Action::MoveMerge(MoveMerge {
                feature_id: feature_id(feature),
                state: *state,
                checks: checks.map(|passed| {
                    let reason = TEXTS[2].into();
                    vec![MergeCheck { name: CheckName::MergesCleanly, passed, reason }; usize::from(passed)]
                }),
                note: note.map(Into::into),
                commit: note.map(Into::into),
            }),
            What::RemoveMerge { feature } => Action::RemoveMerge { feature_id: feature_id(feature) },
            What::SubmitChangeset { revision, trigger, feature, policies } => {
                let changeset_id = self.id(9, self.changesets.len() as u128 + 1);
                self.changesets.push(changeset_id);
                Action::SubmitChangeset(SubmitChangeset {
                    changeset_id,
                    revision: (*revision).into(),
                    trigger: *trigger,
                    agent_id: caller.agent_id.clone(),
                    feature_id: feature.map(feature_id),
                    task_id: feature.and(self.submitted.last().copied()),
                    policies: policies.as_ref().map(|names| names.iter().map(|name| (*name).into()).collect()),
                })
            }
            What::PlanChangeset { changeset, runs, trouble } => Action::PlanChangeset(PlanChangeset {
                changeset_id: self.changeset(*changeset),
                commit: trouble.is_none().then(|| FINGERPRINTS[0].into()),
                tree: trouble.map(Into::into),
                base: None,
                changed_paths: vec![TEXTS[2].into()],
                changed_total: 7,
                runs: runs.iter().map(|run| self.planned_run(*run)).collect(),
                trouble: trouble.map(Into::into),
            }),
            What::ClaimRun { changeset, executors, lease } => Action::ClaimRun(ClaimRun {
                changeset_id: changeset.map(|changeset| self.changeset(changeset)),
                executors: executors.clone(),
                lease_seconds: *lease,
            }),
            What::RenewRun { run, token, lease, key } => {
                let (run_id, current) = self.run(*run);
                let (token, key) = (current + token, key.map(Into::into));
                Action::RenewRun(RenewRun { run_id, token, lease_seconds: *lease, key })
            }
            What::ReportRun { run, token, verdict, text } => {
                let (run_id, current) = self.run(*run);
                Action::ReportRun(ReportRun {
                    run_id,
                    token: current + token,
                    verdict: *verdict,
                    evidence: text.map(Into::into),
                    log_url: text.map(Into::into),
                    external_id: text.map(Into::into),
                })
            }
            What::CreateKey(number) => {
                let id = self.id(3, u128::from(*number));
                let bound = number.is_multiple_of(2);
                // An id is minted once.
                if self.made_keys.contains(number) {
                    return Action::RevokeKey { id };
                }
                self.made_keys.push(*number);
                Action::CreateKey(ApiKey {
                    id,
                    name: TEXTS[2].into(),
                    hash: format!("{0}{0}", id.simple()),
                    project: self.worlds[0].project.clone(),
                    agent_id: bound.then(|| caller.agent_id.clone()),
                    agent_type: bound.then(|| caller.agent_type.clone()),
                    scopes: if bound { vec![TEXTS[2].into(), "read".into()] } else { vec![] },
                    per_minute: bound.then_some(7),
                    created_at: Timestamp::UNIX_EPOCH,
                    expires_at: (!bound).then(|| self.now + SignedDuration::from_secs(60)),
                    revoked_at: None,
                    last_used_at: None,
                })
            }
            What::RevokeKey(number) => Action::RevokeKey { id: self.id(3, u128::from(*number)) },
            What::CheckNetwork { domain, port, allowed } => Action::CheckNetwork(NetworkCheck {
                domain: (*domain).into(),
                port: *port,
                addresses: port.iter().map(ToString::to_string).collect(),
                allowed: *allowed,
                policy: "default".into(),
                reason: (*domain).into(),
            }),
            What::NoteKeyUse(number) => Action::NoteKeyUse { id: self.id(3, u128::from(*number)) },
            What::PruneAudit(size) => Action::PruneAudit(Seal {
                size: *size,
                hash: Digest256::START,
                frontier: vec![Digest256::START; 2],
                trail: Digest256::START,
                checkpoint: TEXTS[2].into(),
            }),
            What::Refuse(text) => Action::Refuse(Refusal::IdentityMismatch { message: (*text).into() }),
        }
    }

    /// The latest changeset but so many.
    fn changeset(&self, back: u8) -> Uuid {
        self.changesets.iter().rev().nth(back.into()).copied().unwrap_or(self.id(9, 0))
    }

    /// One of the runs that somebody has, with its token; or one that has ended.
    fn run(&self, at: u8) -> (Uuid, i64) {
        let runs = || self.known.changesets.iter().flat_map(|c| &c.runs);
        let held = runs().filter(|run| run.token.is_some()).nth(at.into());
        let run = held.or(runs().next());
        run.map_or((self.id(10, 0), 1), |run| (run.run_id, run.token.unwrap_or(1)))
    }

    fn planned_run(
        &mut self,
        (tier, executor, approved, key): (u8, Executor, bool, Option<&'static str>),
    ) -> PlannedRun {
        self.runs += 1;
        PlannedRun {
            run_id: self.id(10, self.runs),
            policy: TYPES[usize::from(tier) % TYPES.len()].into(),
            tier,
            executor,
            timeout_seconds: 600,
            approval_id: approved.then(|| self.id(11, self.runs)),
            key: key.map(Into::into),
        }
    }

    fn submit(&mut self, caller: &Caller, ask: &SubmitAsk) -> Submit {
        let mut depends_on: Vec<Uuid> = ask.depends_on.iter().map(|task| self.task(caller, *task)).collect();
        depends_on.sort();
        depends_on.dedup();
        let task_id = self.id(4, self.submitted.len() as u128);
        self.submitted.push(task_id);
        Submit {
            task_id,
            task_type: ask.kind.into(),
            description: ask.text.into(),
            input_data: ask.input.map(|text| JsonText::from_trusted(text.into())),
            priority: ask.priority,
            depends_on,
            deadline: ask.deadline.map(|micros| self.now + SignedDuration::from_micros(micros)),
            max_attempts: ask.max_attempts,
            idempotency_key: ask.idempotency.map(|(key, _)| key.into()),
            fingerprint: ask.idempotency.map_or("", |(_, print)| print).into(),
            required_capability: ask.capability.map(Into::into),
            assignee: ask.assignee.map(agent),
            feature_id: ask.feature.map(Into::into),
        }
    }

    fn remember(&mut self, caller: &Caller, ask: &RememberAsk) -> Remember {
        let unknown = self.id(7, 0);
        let latest = |back: &u8| self.remembered.iter().rev().nth((*back).into()).copied().unwrap_or(unknown);
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let mut lessons = texts(&ask.lessons);
        lessons.sort();
        lessons.dedup();
        let mut used: Vec<Uuid> = ask.used.iter().map(latest).collect();
        used.sort();
        used.dedup();
        let supersedes = ask.supersedes.as_ref().map(latest);
        let memory_id = self.id(6, self.remembered.len() as u128);
        self.remembered.push(memory_id);
        harness::found_by_its_words(Remember {
            memory_id,
            event_type: if ask.summary.contains("pool") { EventType::Error } else { EventType::Decision },
            summary: ask.summary.into(),
            details: ask.details.iter().map(|d| (*d).into()).collect(),
            outcome: ask.outcome,
            lessons,
            tags: model::memories::canonical_tags(&texts(&ask.tags)),
            supersedes,
            used,
            fingerprint: format!("{} {}", caller.agent_id, ask.summary),
            terms: Default::default(),
        })
    }

    fn task(&self, caller: &Caller, task: TaskRef) -> Uuid {
        let latest = |back: u8| self.submitted.iter().rev().nth(back.into()).copied();
        let found = match task {
            TaskRef::Held(back) => {
                let of_caller = |t: &&Task| t.status.is_held() && t.claimed_by.as_ref() == Some(&caller.agent_id);
                self.known.tasks.iter().filter(of_caller).nth(back.into()).map(|t| t.task_id).or(latest(back))
            }
            TaskRef::Latest(back) => latest(back),
            TaskRef::Unknown => None,
        };
        found.unwrap_or(self.id(5, 0))
    }

    fn token_of_lock(&self, caller: &Caller, keys: &[LockKey], token: Token) -> Option<i64> {
        let own = |l: &&Lock| l.agent_id == caller.agent_id && keys.contains(&l.key);
        resolved(token, self.known.locks.iter().filter(own).map(|l| l.fencing_token).max())
    }
}

fn resolved(token: Token, current: Option<i64>) -> Option<i64> {
    match token {
        Token::None => None,
        Token::Current(more) => Some(current.unwrap_or(0) + more),
    }
}

fn feature_id(name: &str) -> FeatureId {
    FeatureId::new(name).unwrap()
}

fn sorted_keys(texts: &[&str]) -> Vec<LockKey> {
    let mut keys: Vec<LockKey> = texts.iter().map(|k| key(k)).collect();
    keys.sort();
    keys.dedup();
    keys
}
