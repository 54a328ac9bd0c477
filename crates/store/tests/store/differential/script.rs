//! The small world in which scripts happen, and what a script says.

use std::fmt;

use jiff::SignedDuration;
use model::approvals::{ApprovalScope, Verdict};
use model::features::FeatureEnd;
use model::github::GithubKind;
use model::limits::Limits;
use model::memories::Effect;
use model::merge_queue::MergeState;
use model::messages::Audience;
use model::rulebook::RuleKind;
use model::verification::{Executor, Trigger, Verdict as RunVerdict};

pub const AGENTS: &[&str] = &["ann", "bob", "Zoë O'Brien", "claude \"x\" %_\\"];
pub const SESSIONS: &[&str] = &["s1", "s2", "S'1", "ß"];
macro_rules! sixteen {
    ($text:literal) => {
        concat!(
            $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text, $text,
            $text
        )
    };
}

pub const KEYS: &[&str] = &[
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
pub const FEATURES: &[&str] = &["f1", "F", "a/b", "a:b", "it's", ""];
pub const TYPES: &[&str] = &["build", "test", "it's \"lint\" é"];
pub const CAPABILITIES: &[&str] = &["c++", "rust", "ünï"];
pub const TEXTS: &[&str] = &["", "plain", "it's \"quoted\" \\ % _ $1 – ünï\n\t\u{1f980}", "'); drop table locks; --"];
pub const JSON: &[&str] =
    &["null", "{\"b\": 1.0, \"a\": [1e2, \"\\u00e9\"], \"b\": 2}", "\"'\\\\\"", "123456789012345678901234567890"];
pub const SUMMARIES: &[&str] = &["pool of zones", "zones", "it's ünï \u{1f980} src/zones.rs:7", "pool Pool pool"];
pub const WORDS: &[&str] = &["pool", "zone", "src/zones.rs", "ünï", "retri", "it's", "#db", "nothing"];
pub const TAGS: &[&str] = &["db", "it's", "ünï"];
pub const OPERATIONS: &[&str] = &["complete_work", "run_command"];
pub const FINGERPRINTS: &[&str] = &["f1", "f2", "it's"];
pub const SECONDS: &[u32] = &[1, 2, 3, 10, 60, 300, 3600];

/// What happens, in order.
#[derive(Clone)]
pub struct Script(pub Vec<Step>);

#[derive(Clone, Debug)]
pub enum Step {
    /// So many microseconds go by.
    Pass(i64),
    /// Time goes by until the next thing ends, or a microsecond less.
    PassToTheNextEnd { short: bool },
    /// A batch.
    Apply(Vec<Ask>),
}

/// A command, with what depends on the state left open.
#[derive(Clone, Debug)]
pub struct Ask {
    pub agent: &'static str,
    pub session: Option<&'static str>,
    pub limits: Limits,
    /// The latest approval but so many, and whether it is shown for what it was asked for.
    pub pass: Option<(u8, bool)>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
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
pub struct SubmitAsk {
    pub kind: &'static str,
    pub priority: u8,
    pub depends_on: Vec<TaskRef>,
    pub deadline: Option<i64>,
    pub max_attempts: u32,
    pub idempotency: Option<(&'static str, &'static str)>,
    pub capability: Option<&'static str>,
    pub assignee: Option<&'static str>,
    pub feature: Option<&'static str>,
    pub input: Option<&'static str>,
    pub text: &'static str,
}

#[derive(Clone, Debug)]
pub struct RememberAsk {
    pub summary: &'static str,
    pub details: Option<&'static str>,
    pub outcome: Option<Effect>,
    pub lessons: Vec<&'static str>,
    pub tags: Vec<&'static str>,
    /// The latest but so many; past the first there is none.
    pub supersedes: Option<u8>,
    pub used: Vec<u8>,
}

/// Proof of a grant, true or not.
#[derive(Clone, Copy, Debug)]
pub enum Token {
    None,
    /// The current one, and so much more or less; 0 and so much where there is none.
    Current(i64),
}

#[derive(Clone, Copy, Debug)]
pub enum TaskRef {
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
