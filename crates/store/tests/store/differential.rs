//! Random command sequences have equal outcomes and leave equal state in every store.
//!
//! A script says what happens in terms of a small world: few agents, sessions, keys and tasks, so that they meet. What
//! depends on the state (a token, the next instant at which something ends) is looked up in the reference while it runs,
//! so that a script stays sensible when parts of it are taken away to find the least that fails.
//!
//! `COORDINATOR_SEQUENCES` sets how many scripts are run, `COORDINATOR_SEED` which.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use model::JsonText;
use model::api_keys::ApiKey;
use model::approvals::{
    Approval, ApprovalFilter, ApprovalScope, ApprovalStatus, DecideApproval, Pass, RequestApproval, Subject, Verdict,
};
use model::audit::{AuditEntry, AuditFilter, SYSTEM_AGENT};
use model::chain::{Digest256, Seal};
use model::command::{
    Acquire, Action, AllocatePorts, Cancel, Claim, Cleanup, Command, Complete, Finish, Freed, Outcome, ReadMessages,
    Refusal, Register, Release, SendMessage, Submit, Wait, WriteHandoff,
};
use model::features::{DeregisterFeature, Feature, FeatureEnd, FeatureFilter, FeatureStatus, RegisterFeature};
use model::github::{GithubKind, GithubRecord, PutGithubRecord};
use model::handoffs::{Handoff, HandoffFilter, Notes};
use model::id::{AgentId, Caller, FeatureId, Project, SessionId};
use model::key::LockKey;
use model::limits::Limits;
use model::locks::{Lock, LockMode, Waiter};
use model::memories::{Candidate, EVERY, Effect, EventType, Found, Remember, Search};
use model::merge_queue::{CheckName, EnqueueMerge, MergeCheck, MergeEntry, MergeScope, MergeState, MoveMerge};
use model::messages::{Audience, Message, MessageFilter};
use model::network::NetworkCheck;
use model::ports::PortBlock;
use model::ranking::{Question, Ranked};
use model::rulebook::{PutRule, Rule, RuleKind};
use model::sessions::Session;
use model::skills::{RecordSkillUse, Skill};
use model::verification::{
    APPROVAL_OPERATION, Changeset, ChangesetFilter, ChangesetState, ClaimRun, Executor, PlanChangeset, PlannedRun,
    RenewRun, ReportRun, RunState, SubmitChangeset, Trigger, Verdict as RunVerdict,
};
use model::work::{CANCELLED, Task, TaskFilter, TaskStatus};
use model::working_memory::{Note, NotesOwner, UpdateWorkingMemory};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::harness::{self, Engine, World, key, operation};

const AGENTS: &[&str] = &["ann", "bob", "Zoë O'Brien", "claude \"x\" %_\\"];
const SESSIONS: &[&str] = &["s1", "s2", "S'1", "ß"];
macro_rules! sixteen {
    ($text:literal) => {
        concat!(
            $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text,
            $text
        )
    };
}

const KEYS: &[&str] = &[
    ".",
    "src",
    "src/a.rs",
    "src/auth",
    "src/auth/login.rs",
    "src-x/a.rs",
    "src.rs",
    "src0",
    "SRC",
    "src/**/*.rs",
    "src/*",
    "**/*.sql",
    "db/x.sql",
    "it's/a_b%.md",
    "日本/\u{10ffff}.rs",
    "\u{10ffff}",
    "app/[id]/page.tsx",
    // Longer than what an index may hold.
    sixteen!("a-directory-of-some-length/"),
    concat!(sixteen!("a-directory-of-some-length/"), "a.rs"),
    concat!(sixteen!("a-directory-of-some-length/"), "b.rs"),
    concat!(sixteen!("a-directory-of-some-length/"), "*.rs"),
    sixteen!("a-name-that-has-no-end-"),
    concat!(sixteen!("a-name-that-has-no-end-"), "/a.rs"),
    "api:GET /v1/users",
    "api:/v1/users",
    "api:GET /v1/users/{id}",
    "api:GET /v1/users/:user",
    "api:/v1/**",
    "db:users",
    "db:schema:users",
    "db:*",
    "event:user.created",
    "event:user.*",
    "flag:billing/*",
    "flag:billing/new",
    "env:shared",
    "contract:openapi/v1.yaml",
    "feature:f1:pause",
    "feature:f1:lead",
    "feature:F:pause",
    "feature:a/b:pause",
    "feature:a:b/pause",
];
const FEATURES: &[&str] = &["f1", "F", "a/b", "a:b", "it's", ""];
const TYPES: &[&str] = &["build", "test", "it's \"lint\" é"];
const CAPABILITIES: &[&str] = &["c++", "rust", "ünï"];
const TEXTS: &[&str] = &["", "plain", "it's \"quoted\" \\ % _ $1 – ünï\n\t\u{1f980}", "'); drop table locks; --"];
const JSON: &[&str] =
    &["null", "{\"b\": 1.0, \"a\": [1e2, \"\\u00e9\"], \"b\": 2}", "\"'\\\\\"", "123456789012345678901234567890"];
const SUMMARIES: &[&str] = &["pool of zones", "zones", "it's ünï \u{1f980} src/zones.rs:7", "pool Pool pool"];
const WORDS: &[&str] = &["pool", "zone", "src/zones.rs", "ünï", "retri", "it's", "#db", "nothing"];
const TAGS: &[&str] = &["db", "it's", "ünï"];
const OPERATIONS: &[&str] = &["complete_work", "run_command"];
const FINGERPRINTS: &[&str] = &["f1", "f2", "it's"];
const SECONDS: &[u32] = &[1, 2, 3, 10, 60, 300, 3600];

/// What happens, in order.
#[derive(Clone)]
struct Script(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    /// So many microseconds go by.
    Pass(i64),
    /// Time goes by until the next thing ends, or a microsecond less.
    PassToTheNextEnd { short: bool },
    /// A batch.
    Apply(Vec<Ask>),
}

/// A command, with what depends on the state left open.
#[derive(Clone, Debug)]
struct Ask {
    agent: &'static str,
    session: Option<&'static str>,
    limits: Limits,
    /// The latest approval but so many, and whether it is shown for what it was asked for.
    pass: Option<(u8, bool)>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Acquire {
        keys: Vec<&'static str>,
        shared: bool,
        ttl: u32,
        reason: Option<&'static str>,
        feature: Option<&'static str>,
        token: Token,
        wait: Option<(u8, bool)>,
    },
    Release {
        keys: Vec<&'static str>,
        token: Token,
    },
    Submit(SubmitAsk),
    Claim {
        types: Option<Vec<&'static str>>,
        lease: u32,
        waits: bool,
    },
    Complete {
        task: TaskRef,
        success: bool,
        code: Option<&'static str>,
        result: Option<&'static str>,
        token: Token,
    },
    Cancel {
        task: TaskRef,
        reason: &'static str,
    },
    Finish(TaskRef),
    Register {
        capabilities: Vec<&'static str>,
        ttl: u32,
    },
    Heartbeat,
    EndSession,
    Message {
        audience: Audience,
        thread: Option<&'static str>,
        text: &'static str,
    },
    ReadMessages(u32),
    Cleanup {
        silent: u32,
    },
    WriteHandoff {
        feature: Option<&'static str>,
        summary: &'static str,
        lists: Vec<Vec<&'static str>>,
        content: Option<&'static str>,
    },
    AllocatePorts {
        session: &'static str,
        candidates: Vec<u16>,
        ttl: u32,
    },
    ReleasePorts {
        session: &'static str,
    },
    Remember(RememberAsk),
    Note {
        key: &'static str,
        value: Option<&'static str>,
        pinned: Option<bool>,
    },
    SkillUse {
        name: &'static str,
        task_type: &'static str,
        success: bool,
        description: Option<&'static str>,
        steps: Option<Vec<&'static str>>,
    },
    RequestApproval {
        operation: &'static str,
        fingerprint: &'static str,
        reason: &'static str,
        ttl: u32,
        refused: Option<&'static str>,
    },
    DecideApproval {
        /// The latest but so many; past the first there is none.
        approval: u8,
        verdict: Verdict,
        scope: ApprovalScope,
        ttl: u32,
        note: Option<&'static str>,
    },
    UseApproval,
    PutRule {
        kind: RuleKind,
        name: &'static str,
        body: Option<&'static str>,
        /// The version that was seen: the latest, and so much more or less.
        seen: Option<i64>,
    },
    PutGithub {
        kind: GithubKind,
        name: &'static str,
        body: &'static str,
        ttl: Option<u32>,
        /// The revision that was seen: the latest, and so much more or less.
        seen: i64,
    },
    RegisterFeature {
        feature: &'static str,
        claims: Vec<&'static str>,
        priority: Option<u8>,
        title: Option<&'static str>,
        metadata: Option<&'static str>,
    },
    DeregisterFeature {
        feature: &'static str,
        end: FeatureEnd,
    },
    EnqueueMerge {
        feature: &'static str,
        pr_url: Option<&'static str>,
    },
    MoveMerge {
        feature: &'static str,
        state: MergeState,
        note: Option<&'static str>,
        checks: Option<bool>,
    },
    RemoveMerge {
        feature: &'static str,
    },
    SubmitChangeset {
        revision: &'static str,
        trigger: Trigger,
        feature: Option<&'static str>,
        policies: Option<Vec<&'static str>>,
    },
    PlanChangeset {
        /// The latest but so many; past the first there is none.
        changeset: u8,
        runs: Vec<(u8, Executor, bool, Option<&'static str>)>,
        trouble: Option<&'static str>,
    },
    ClaimRun {
        changeset: Option<u8>,
        executors: Vec<Executor>,
        lease: u32,
    },
    RenewRun {
        /// Which of those that somebody has.
        run: u8,
        token: i64,
        lease: u32,
        key: Option<&'static str>,
    },
    ReportRun {
        run: u8,
        token: i64,
        verdict: RunVerdict,
        text: Option<&'static str>,
    },
    CreateKey(u8),
    RevokeKey(u8),
    CheckNetwork {
        domain: &'static str,
        port: Option<u16>,
        allowed: bool,
    },
    NoteKeyUse(u8),
    /// With a seal that fits nowhere, or of what is not there.
    PruneAudit(i64),
    Refuse(&'static str),
}

#[derive(Clone, Debug)]
struct SubmitAsk {
    kind: &'static str,
    priority: u8,
    depends_on: Vec<TaskRef>,
    deadline: Option<i64>,
    max_attempts: u32,
    idempotency: Option<(&'static str, &'static str)>,
    capability: Option<&'static str>,
    assignee: Option<&'static str>,
    feature: Option<&'static str>,
    input: Option<&'static str>,
    text: &'static str,
}

#[derive(Clone, Debug)]
struct RememberAsk {
    summary: &'static str,
    details: Option<&'static str>,
    outcome: Option<Effect>,
    lessons: Vec<&'static str>,
    tags: Vec<&'static str>,
    /// The latest but so many; past the first there is none.
    supersedes: Option<u8>,
    used: Vec<u8>,
}

/// Proof of a grant, true or not.
#[derive(Clone, Copy, Debug)]
enum Token {
    None,
    /// The current one, and so much more or less; 0 and so much where there is none.
    Current(i64),
}

#[derive(Clone, Copy, Debug)]
enum TaskRef {
    /// One that the caller holds, if any.
    Held(u8),
    /// The latest but so many.
    Latest(u8),
    Unknown,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Pass(micros) => writeln!(f, "pass {}", SignedDuration::from_micros(*micros))?,
                Step::PassToTheNextEnd { short: false } => writeln!(f, "pass to the next end")?,
                Step::PassToTheNextEnd { short: true } => writeln!(f, "pass to 1 µs before the next end")?,
                Step::Apply(asks) => {
                    writeln!(f, "apply")?;
                    for Ask { agent, session, limits, pass, what } in asks {
                        writeln!(f, "    {agent:?} in {session:?} with {pass:?}: {what:?}, {limits:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn scripts() -> impl Strategy<Value = Script> {
    vec(step(), 1..36).prop_map(Script)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => select(vec![1, 999_999, 1_000_000, 2_000_000, 5_000_000, 60_000_000, 299_000_000, 7_200_000_000])
            .prop_map(Step::Pass),
        2 => any::<bool>().prop_map(|short| Step::PassToTheNextEnd { short }),
        9 => vec(ask(), 0..6).prop_map(Step::Apply),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let pass = option::weighted(0.15, (0_u8..3, prop::bool::weighted(0.9)));
    (one(AGENTS), option::weighted(0.6, one(SESSIONS)), limits(), pass, what())
        .prop_map(|(agent, session, limits, pass, what)| Ask { agent, session, limits, pass, what })
}

/// None for most, as in life.
fn limits() -> impl Strategy<Value = Limits> {
    let some = (option::of(0_u32..4), option::of(select(vec![0_u32, 1, 3, 9])), option::of(1_u32..3)).prop_map(
        |(max_file_modifications, max_calls_per_hour, max_minutes_per_task)| Limits {
            max_file_modifications,
            max_calls_per_hour,
            max_minutes_per_task,
        },
    );
    prop_oneof![5 => Just(Limits::NONE), 1 => some]
}

fn one(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    // The first few more often, so that things meet.
    prop_oneof![select(&from[..2]), select(from)]
}

fn keys() -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop_oneof![1 => select(&KEYS[..6]), 2 => select(KEYS)], 1..4)
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![4 => Just(Token::None), 2 => Just(Token::Current(0)), 1 => (-2_i64..3).prop_map(Token::Current)]
}

fn task_ref() -> impl Strategy<Value = TaskRef> {
    prop_oneof![4 => (0_u8..2).prop_map(TaskRef::Held), 4 => (0_u8..6).prop_map(TaskRef::Latest), 1 => Just(TaskRef::Unknown)]
}

fn depends_on() -> impl Strategy<Value = Vec<TaskRef>> {
    let earlier = prop_oneof![20 => (0_u8..5).prop_map(TaskRef::Latest), 1 => Just(TaskRef::Unknown)];
    prop_oneof![2 => Just(vec![]), 3 => vec(earlier, 1..4)]
}

fn what() -> impl Strategy<Value = What> {
    let ttl = || select(SECONDS);
    let acquire = (
        keys(),
        prop::bool::weighted(0.35),
        ttl(),
        option::of(one(TEXTS)),
        option::weighted(0.15, one(FEATURES)),
        token(),
        option::weighted(0.5, (0_u8..6, prop::bool::weighted(0.2))),
    )
        .prop_map(|(keys, shared, ttl, reason, feature, token, wait)| What::Acquire {
            keys,
            shared,
            ttl,
            reason,
            feature,
            token,
            wait,
        });
    let submit = (
        (one(TYPES), 1_u8..=10, depends_on(), one(TEXTS)),
        option::weighted(0.25, select(vec![-1_000_000, 0, 1, 3_000_000, 60_000_000])),
        1_u32..4,
        option::weighted(0.3, (select(&["k", "K", "it's"][..]), select(&["f1", "f2"][..]))),
        option::weighted(0.15, one(CAPABILITIES)),
        option::weighted(0.15, one(AGENTS)),
        option::weighted(0.25, one(FEATURES)),
        option::of(select(JSON)),
    )
        .prop_map(|(main, deadline, max_attempts, idempotency, capability, assignee, feature, input)| {
            let (kind, priority, depends_on, text) = main;
            What::Submit(SubmitAsk {
                kind,
                priority,
                depends_on,
                deadline,
                max_attempts,
                idempotency,
                capability,
                assignee,
                feature,
                input,
                text,
            })
        });
    let complete =
        (task_ref(), any::<bool>(), option::of(select(&["broken", CANCELLED][..])), option::of(select(JSON)), token())
            .prop_map(|(task, success, code, result, token)| What::Complete { task, success, code, result, token });
    let write_handoff =
        (option::weighted(0.3, one(FEATURES)), one(TEXTS), vec(vec(one(TEXTS), 0..3), 5), option::of(select(JSON)))
            .prop_map(|(feature, summary, lists, content)| What::WriteHandoff { feature, summary, lists, content });
    let audience = prop_oneof![
        one(AGENTS).prop_map(|name| Audience::Agent(agent(name))),
        one(CAPABILITIES).prop_map(|capability| Audience::Capability(capability.into())),
        Just(Audience::All),
    ];
    let message = (audience, option::of(one(KEYS)), one(TEXTS)).prop_map(|(audience, thread, text)| What::Message {
        audience,
        thread,
        text,
    });
    // A few blocks that overlap in every way.
    let allocate_ports = (one(SESSIONS), vec(0_u16..20, 0..4), ttl())
        .prop_map(|(session, candidates, ttl)| What::AllocatePorts { session, candidates, ttl });
    let effect = select(vec![Effect::Positive, Effect::Negative, Effect::Neutral]);
    let remember = (
        (one(SUMMARIES), option::of(one(TEXTS)), option::of(effect)),
        vec(select(&["retry the pool", "it's a lesson", ""][..]), 0..3),
        vec(select(TAGS), 0..3),
        option::weighted(0.4, 0_u8..5),
        vec(0_u8..6, 0..2),
    )
        .prop_map(|((summary, details, outcome), lessons, tags, supersedes, used)| {
            What::Remember(RememberAsk { summary, details, outcome, lessons, tags, supersedes, used })
        });
    let note = (one(TEXTS), option::weighted(0.8, select(JSON)), option::of(any::<bool>()))
        .prop_map(|(key, value, pinned)| What::Note { key, value, pinned });
    let skill_use =
        (one(TEXTS), one(TYPES), any::<bool>(), option::of(one(TEXTS)), option::of(vec(select(TEXTS), 0..3))).prop_map(
            |(name, task_type, success, description, steps)| What::SkillUse {
                name,
                task_type,
                success,
                description,
                steps,
            },
        );
    let request_approval = (one(OPERATIONS), one(FINGERPRINTS), one(TEXTS), ttl(), option::weighted(0.4, one(TEXTS)))
        .prop_map(|(operation, fingerprint, reason, ttl, refused)| What::RequestApproval {
            operation,
            fingerprint,
            reason,
            ttl,
            refused,
        });
    let verdict = prop_oneof![3 => Just(Verdict::Approve), 1 => Just(Verdict::Deny)];
    let scope = prop_oneof![Just(ApprovalScope::Once), Just(ApprovalScope::Session)];
    let decide_approval = (0_u8..4, verdict, scope, ttl(), option::of(one(TEXTS)))
        .prop_map(|(approval, verdict, scope, ttl, note)| What::DecideApproval { approval, verdict, scope, ttl, note });
    let put_rule = (
        select(&RuleKind::ALL[..]),
        one(TEXTS),
        option::weighted(0.7, one(TEXTS)),
        option::weighted(0.5, prop_oneof![4 => Just(0), 1 => -1_i64..2]),
    )
        .prop_map(|(kind, name, body, seen)| What::PutRule { kind, name, body, seen });
    let put_github = (
        select(&GithubKind::ALL[..]),
        one(TEXTS),
        select(JSON),
        option::of(ttl()),
        prop_oneof![6 => Just(0), 1 => -1_i64..2],
    )
        .prop_map(|(kind, name, body, ttl, seen)| What::PutGithub { kind, name, body, ttl, seen });
    // The last is no feature's id.
    let feature = || one(&FEATURES[..5]);
    let register_feature = (feature(), keys(), option::of(1_u8..=10), option::of(one(TEXTS)), option::of(select(JSON)))
        .prop_map(|(feature, claims, priority, title, metadata)| What::RegisterFeature {
            feature,
            claims,
            priority,
            title,
            metadata,
        });
    let deregister_feature = (feature(), select(vec![FeatureEnd::Completed, FeatureEnd::Cancelled]))
        .prop_map(|(feature, end)| What::DeregisterFeature { feature, end });
    let enqueue_merge =
        (feature(), option::of(one(TEXTS))).prop_map(|(feature, pr_url)| What::EnqueueMerge { feature, pr_url });
    let move_merge = (feature(), select(&MergeState::ALL[..]), option::of(one(TEXTS)), option::of(any::<bool>()))
        .prop_map(|(feature, state, note, checks)| What::MoveMerge { feature, state, note, checks });
    let policies = option::weighted(0.3, vec(one(TYPES), 0..3));
    let triggers = select(vec![Trigger::Task, Trigger::Branch, Trigger::MergeQueue, Trigger::Webhook]);
    let submit_changeset = (one(FINGERPRINTS), triggers, option::weighted(0.3, feature()), policies).prop_map(
        |(revision, trigger, feature, policies)| What::SubmitChangeset { revision, trigger, feature, policies },
    );
    let executor = || select(vec![Executor::Inline, Executor::Command, Executor::Github, Executor::Human]);
    let planned_run = (0_u8..3, executor(), any::<bool>(), option::of(one(FINGERPRINTS)));
    let plan_changeset = (0_u8..3, vec(planned_run, 0..5), option::weighted(0.1, one(TEXTS)))
        .prop_map(|(changeset, runs, trouble)| What::PlanChangeset { changeset, runs, trouble });
    let claim_run = (option::weighted(0.3, 0_u8..3), vec(executor(), 1..3), ttl())
        .prop_map(|(changeset, executors, lease)| What::ClaimRun { changeset, executors, lease });
    let run_token = || prop_oneof![6 => Just(0_i64), 1 => -1_i64..2];
    let renew_run = (0_u8..3, run_token(), ttl(), option::of(one(FINGERPRINTS)))
        .prop_map(|(run, token, lease, key)| What::RenewRun { run, token, lease, key });
    let verdict = prop_oneof![
        6 => Just(RunVerdict::Passed),
        1 => Just(RunVerdict::Failed),
        1 => Just(RunVerdict::Errored),
        1 => Just(RunVerdict::TimedOut),
        1 => Just(RunVerdict::Cancelled),
        2 => Just(RunVerdict::Accepted),
    ];
    let report_run = (0_u8..3, run_token(), verdict, option::of(one(TEXTS)))
        .prop_map(|(run, token, verdict, text)| What::ReportRun { run, token, verdict, text });
    prop_oneof![
        5 => submit_changeset,
        6 => plan_changeset,
        8 => claim_run,
        4 => renew_run,
        8 => report_run,
        5 => register_feature,
        2 => deregister_feature,
        4 => enqueue_merge,
        7 => move_merge,
        1 => feature().prop_map(|feature| What::RemoveMerge { feature }),
        5 => request_approval,
        5 => decide_approval,
        2 => Just(What::UseApproval),
        6 => remember,
        2 => note,
        2 => skill_use,
        14 => acquire,
        5 => (keys(), token()).prop_map(|(keys, token)| What::Release { keys, token }),
        8 => submit,
        9 => (option::weighted(0.3, vec(one(TYPES), 0..3)), ttl(), any::<bool>())
            .prop_map(|(types, lease, waits)| What::Claim { types, lease, waits }),
        6 => complete,
        2 => (task_ref(), one(TEXTS)).prop_map(|(task, reason)| What::Cancel { task, reason }),
        2 => task_ref().prop_map(What::Finish),
        5 => (vec(one(CAPABILITIES), 0..3), ttl()).prop_map(|(capabilities, ttl)| What::Register { capabilities, ttl }),
        3 => Just(What::Heartbeat),
        1 => Just(What::EndSession),
        4 => message,
        2 => (0_u32..4).prop_map(What::ReadMessages),
        1 => select(vec![0, 1, 60, 900]).prop_map(|silent| What::Cleanup { silent }),
        3 => write_handoff,
        5 => allocate_ports,
        2 => one(SESSIONS).prop_map(|session| What::ReleasePorts { session }),
        3 => put_rule,
        3 => put_github,
        1 => (0_u8..4).prop_map(What::CreateKey),
        1 => (0_u8..4).prop_map(What::RevokeKey),
        1 => (one(TEXTS), option::of(any::<u16>()), any::<bool>())
            .prop_map(|(domain, port, allowed)| What::CheckNetwork { domain, port, allowed }),
        1 => (0_u8..4).prop_map(What::NoteKeyUse),
        1 => (0_i64..40).prop_map(What::PruneAudit),
        1 => one(TEXTS).prop_map(What::Refuse),
    ]
}

/// All that is known of GitHub.
async fn all_github(store: &std::sync::Arc<dyn store::Store>, project: &Project) -> Checked<Vec<GithubRecord>> {
    let mut records = vec![];
    for kind in GithubKind::ALL {
        records.extend(store.github_records(project, kind, None).await.map_err(failed)?);
    }
    Ok(records)
}

/// One run of a script: its project in every store, and what has happened so far.
struct Run {
    /// The reference first.
    worlds: Vec<World>,
    /// Also the reference, given each command in a batch of its own.
    singly: World,
    /// Sets this run's ids apart from those of others.
    number: u128,
    now: Timestamp,
    submitted: Vec<Uuid>,
    remembered: Vec<Uuid>,
    asked: Vec<Uuid>,
    changesets: Vec<Uuid>,
    runs: u128,
    made_keys: Vec<u8>,
    commands: u128,
    answered: usize,
    known: Known,
}

/// What the reference held after the last batch.
#[derive(Default)]
struct Known {
    locks: Vec<Lock>,
    waiters: Vec<Waiter>,
    tasks: Vec<Task>,
    sessions: Vec<Session>,
    port_blocks: Vec<PortBlock>,
    approvals: Vec<Approval>,
    changesets: Vec<Changeset>,
    rules: Vec<Rule>,
    github: Vec<GithubRecord>,
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

type Checked<T> = Result<T, TestCaseError>;

fn differ(what: &str, engine: &str, expected: &impl fmt::Debug, actual: &impl fmt::Debug) -> TestCaseError {
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
    async fn script(&mut self, script: &Script) -> Checked<()> {
        self.set(Timestamp::from_microsecond(harness::BEGINNING).unwrap()).await;
        for step in &script.0 {
            match step {
                Step::Pass(micros) => self.set(self.now + SignedDuration::from_micros(*micros)).await,
                Step::PassToTheNextEnd { short } => {
                    if let Some(end) = self.next_end() {
                        let end = if *short { end - harness::MOMENT } else { end };
                        self.set(end.max(self.now)).await;
                    }
                }
                Step::Apply(asks) => self.batch(asks).await?,
            }
        }
        self.compare().await
    }

    async fn set(&mut self, now: Timestamp) {
        self.now = now;
        for world in self.worlds.iter().chain([&self.singly]) {
            world.set(now).await;
        }
    }

    /// The next instant after now at which something ends.
    fn next_end(&self) -> Option<Timestamp> {
        let known = &self.known;
        let tasks = known.tasks.iter().flat_map(|t| [t.lease_expires_at, t.not_before, t.deadline]);
        let others = known.locks.iter().map(|l| l.expires_at);
        let others = others.chain(known.waiters.iter().map(|w| w.expires_at));
        let others = others.chain(known.sessions.iter().map(|s| s.expires_at));
        let others = others.chain(known.port_blocks.iter().map(|b| b.expires_at));
        let open = known.approvals.iter().filter(|a| a.status.is_open());
        let others = others.chain(open.map(|a| a.expires_at));
        let others = others.chain(known.github.iter().filter_map(|record| record.expires_at));
        let runs = known.changesets.iter().flat_map(|c| &c.runs);
        let others = others.chain(runs.filter_map(|run| run.lease_expires_at));
        tasks.flatten().chain(others).filter(|end| *end > self.now).min()
    }

    async fn batch(&mut self, asks: &[Ask]) -> Checked<()> {
        let commands: Vec<Command> = asks.iter().map(|ask| self.command(ask)).collect();
        let expected = outcomes(&self.worlds[0], &commands).await?;
        for world in &self.worlds[1..] {
            let actual = outcomes(world, &commands).await?;
            if actual != expected {
                return Err(differ("outcomes", world.engine().name(), &expected, &actual));
            }
        }
        let mut singly = outcomes(&self.singly, &[]).await?;
        for command in &commands {
            singly.extend(outcomes(&self.singly, std::slice::from_ref(command)).await?);
        }
        let expected: Vec<Outcome> = expected.into_iter().map(without_counts).collect();
        let singly: Vec<Outcome> = singly.into_iter().map(without_counts).collect();
        if singly != expected {
            return Err(differ("outcomes", "one by one", &expected, &singly));
        }
        self.answered += expected.iter().filter(|o| o.is_answer()).count();
        self.look().await?;
        self.check_soundness(&expected)
    }

    /// Looks at the reference. Nothing is due right after a batch, so this changes nothing.
    async fn look(&mut self) -> Checked<()> {
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

    /// What must hold whatever was asked: a mistake that all stores share would not make them differ.
    fn check_soundness(&self, outcomes: &[Outcome]) -> Checked<()> {
        let Known { locks, waiters, tasks, sessions, port_blocks, approvals, changesets, github, rules: _ } =
            &self.known;
        prop_assert!(github.iter().all(|record| record.expires_at.is_none_or(|end| end > self.now)));
        check_changesets(changesets, self.now)?;
        for approval in approvals {
            prop_assert!(!approval.status.is_open() || approval.expires_at > self.now, "over, and open: {approval:?}");
            prop_assert!(approval.decided_by.as_ref() != Some(&approval.agent_id), "its own judge: {approval:?}");
            prop_assert!(approval.used_at.is_none() || approval.scope.is_some(), "used unapproved: {approval:?}");
        }
        for (at, block) in port_blocks.iter().enumerate() {
            prop_assert!(block.expires_at > self.now, "over, and still there: {block:?}");
            for other in &port_blocks[at + 1..] {
                prop_assert!(!block.overlaps(other.first_port), "one port twice: {block:?} and {other:?}");
            }
        }
        for (at, lock) in locks.iter().enumerate() {
            prop_assert!(lock.expires_at > self.now, "over, and still there: {lock:?}");
            for other in &locks[at + 1..] {
                let apart = lock.agent_id == other.agent_id
                    || lock.mode == LockMode::Shared && other.mode == LockMode::Shared
                    || !lock.key.overlaps(&other.key);
                prop_assert!(apart, "two hold one thing: {lock:?} and {other:?}");
            }
        }
        prop_assert!(waiters.iter().all(|w| w.expires_at > self.now));
        prop_assert!(sessions.iter().all(|s| s.expires_at > self.now));
        let mut tokens: Vec<i64> =
            tasks.iter().filter(|t| t.status.is_held()).filter_map(|t| t.fencing_token).collect();
        prop_assert!(tokens.len() == tasks.iter().filter(|t| t.status.is_held()).count(), "a claim without a token");
        tokens.extend(locks.iter().map(|l| l.fencing_token));
        for task in tasks {
            prop_assert_eq!(task.status.is_held(), task.lease_expires_at.is_some(), "{:?}", task);
            prop_assert_eq!(task.status.is_final(), task.completed_at.is_some(), "{:?}", task);
            prop_assert!(task.attempt <= task.max_attempts, "{:?}", task);
            prop_assert!(task.lease_expires_at.is_none_or(|end| end > self.now), "{:?}", task);
            let state = |id: &Uuid| tasks.iter().find(|t| t.task_id == *id).map(|t| t.status);
            let states: Vec<_> = task.depends_on.iter().filter_map(state).collect();
            prop_assert_eq!(states.len(), task.depends_on.len(), "a dependency vanished: {:?}", task);
            // What nobody began may be finished from outside, whatever it waits for.
            if task.status != TaskStatus::Failed && !(task.status.is_final() && task.attempt == 0) {
                let open = states.iter().filter(|s| **s != TaskStatus::Completed).count();
                prop_assert_eq!(open, task.open_dependencies as usize, "{:?}", task);
                prop_assert!(!states.contains(&TaskStatus::Failed), "it waits for ever: {:?}", task);
            }
            prop_assert!(task.attempt == 0 || task.open_dependencies == 0, "begun too early: {:?}", task);
        }
        // A grant's keys have one token together; grants and claims never share one.
        let claims = tasks.iter().filter(|t| t.status.is_held()).filter_map(|t| t.fencing_token);
        for token in claims {
            prop_assert_eq!(tokens.iter().filter(|t| **t == token).count(), 1, "token {} twice", token);
        }
        for outcome in outcomes {
            if let Outcome::Blocked(blocked) | Outcome::Waiting(blocked) = outcome {
                prop_assert!(!blocked.locks.is_empty() || !blocked.waiters.is_empty(), "blocked by nobody");
            }
        }
        Ok(())
    }

    /// Compares all that can be seen.
    async fn compare(&self) -> Checked<()> {
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

    fn command(&mut self, ask: &Ask) -> Command {
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

fn all_changesets() -> ChangesetFilter {
    ChangesetFilter { limit: 1000, ..ChangesetFilter::default() }
}

fn check_changesets(changesets: &[Changeset], now: Timestamp) -> Checked<()> {
    let mut tokens = BTreeSet::new();
    for changeset in changesets {
        prop_assert_eq!(changeset.state.is_open(), changeset.ended_at.is_none(), "{:?}", changeset);
        let all_passed = changeset.runs.iter().all(|run| run.state == RunState::Passed);
        let any_bad = changeset.runs.iter().any(|run| run.state.ends_all());
        match changeset.state {
            ChangesetState::Queued => prop_assert!(changeset.runs.is_empty(), "{changeset:?}"),
            ChangesetState::Running => prop_assert!(!all_passed && !any_bad, "{changeset:?}"),
            ChangesetState::Passed => prop_assert!(all_passed, "{changeset:?}"),
            ChangesetState::Failed => {
                prop_assert!(any_bad || changeset.note.is_some(), "{changeset:?}");
                prop_assert!(changeset.runs.iter().all(|run| run.state.is_over()), "{changeset:?}");
            }
        }
        let waiting = changeset.runs.iter().filter(|run| run.state == RunState::WaitingApproval);
        let human = waiting.filter(|run| run.executor == Executor::Human).count();
        prop_assert!(human <= 1, "two questions at a time: {changeset:?}");
        for run in &changeset.runs {
            let is_held = run.state == RunState::Running;
            prop_assert_eq!((is_held, is_held), (run.token.is_some(), run.lease_expires_at.is_some()), "{:?}", run);
            prop_assert!(run.lease_expires_at.is_none_or(|end| end > now), "over, and still held: {run:?}");
            prop_assert!(run.token.is_none_or(|token| tokens.insert(token)), "one token twice: {run:?}");
            prop_assert_eq!(run.state.is_over(), run.ended_at.is_some(), "{:?}", run);
            let begun = matches!(run.state, RunState::Running | RunState::WaitingApproval | RunState::Passed);
            let below = changeset.runs.iter().filter(|other| other.tier < run.tier);
            let is_in_turn = below.clone().all(|other| other.state == RunState::Passed);
            prop_assert!(!begun || is_in_turn, "begun too early: {changeset:?}");
            let reused = run.reused_from.map(|id| {
                let mut runs = changesets.iter().flat_map(|c| &c.runs);
                runs.any(|other| other.run_id == id && other.state == RunState::Passed && other.key == run.key)
            });
            prop_assert!(reused != Some(false), "reused what never passed: {run:?}");
        }
    }
    Ok(())
}

fn resolved(token: Token, current: Option<i64>) -> Option<i64> {
    match token {
        Token::None => None,
        Token::Current(more) => Some(current.unwrap_or(0) + more),
    }
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
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

fn all_approvals() -> ApprovalFilter {
    ApprovalFilter { limit: 1000, ..ApprovalFilter::default() }
}

fn all_tasks() -> TaskFilter {
    TaskFilter { limit: 1000, ..TaskFilter::default() }
}

fn failed(error: store::StoreError) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

async fn outcomes(world: &World, commands: &[Command]) -> Checked<Vec<Outcome>> {
    let name = world.engine().name();
    let outcomes = world.store.apply(&world.project, commands).await;
    outcomes.map_err(|error| TestCaseError::fail(format!("{name}: {error}\nfor {commands:#?}")))
}

/// A clean-up counts what the batch freed, so its counts alone depend on how commands fall into batches.
fn without_counts(outcome: Outcome) -> Outcome {
    if let Outcome::Cleaned { .. } = outcome { Outcome::Cleaned { freed: Freed::default() } } else { outcome }
}

fn without_cleanups(mut seen: Seen) -> Seen {
    for entry in seen.audit.iter_mut().filter(|e| e.result["kind"] == "cleaned") {
        entry.result = Value::Null;
    }
    seen
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// The stores in which scripts are run, one project a run.
struct Stores {
    worlds: Vec<World>,
    singly: World,
}

impl Stores {
    fn open(runtime: &Runtime, engines: &[Engine]) -> Self {
        let open = |engine: &Engine| runtime.block_on(World::open(*engine));
        Self { worlds: engines.iter().map(open).collect(), singly: open(&Engine::Memory) }
    }
}

/// Runs scripts on these engines, the first of which is the reference.
fn compare(engines: &[Engine]) {
    let sequences = setting("COORDINATOR_SEQUENCES", 150);
    let seed = setting("COORDINATOR_SEED", 1);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let stores = RefCell::new(Stores::open(&runtime, engines));
    let number = Cell::new(0_u128);
    let config =
        Config { cases: sequences as u32, failure_persistence: None, max_shrink_iters: 3000, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&scripts(), |script| {
        number.set(number.get() + 1);
        let project = format!("it's run {}", number.get());
        let mut stores = stores.borrow_mut();
        // What concerns all projects grows slow with their number.
        if number.get().is_multiple_of(200) {
            *stores = Stores::open(&runtime, engines);
        }
        let mut run = Run {
            worlds: stores.worlds.iter().map(|world| world.in_project(&project)).collect(),
            singly: stores.singly.in_project(&project),
            number: number.get(),
            now: Timestamp::UNIX_EPOCH,
            submitted: vec![],
            remembered: vec![],
            asked: vec![],
            changesets: vec![],
            runs: 0,
            made_keys: vec![],
            commands: 0,
            answered: 0,
            known: Known::default(),
        };
        runtime.block_on(run.script(&script))
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, script)) => {
            panic!("{why}\n\nThe least script that shows it (seed {seed}):\n{script:?}")
        }
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

#[test]
fn postgres_does_what_the_reference_does() {
    compare(&[Engine::Memory, Engine::Postgres]);
}

#[test]
fn sqlite_does_what_the_reference_does() {
    compare(&[Engine::Memory, Engine::Sqlite]);
}
